"""What joint training of text, facts and clicks is worth: `python benchmarks/joint_training.py SHOP FOLDER ARM...`.

The session network alone, no counts, no forest: trained on the training part of leave-one-out (all but each user's last
two items) from which one item in twenty is hidden (crc32 of its id), asked for each user's item before the last among
all items of the catalogue, those of the history left out. NDCG@10 and HR@10 of the warm targets, and of the cold ones.

Arms: `separate`, as `beforehand train --joint no` trains it, where items that nobody had have their text alone (a shop
puts them where those lie that they are like); `joint`; `joint-text` and `joint-graph`, one term of the two;
`joint-shuffled`, where each item has another's facts. `joint:W` and the like: that weight for the terms. What each
user's answer was worth is left in FOLDER, so that arms of several runs are compared in pairs: 95 % intervals by 2,000
resamples over users.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders.graph.facts import Fact
from encoders.sequence.settings import SequenceSettings
from encoders.sequence.space import SequenceSpace
from encoders.session import Vector
from index.table_fitting import fit_tables
from index.tables import TableSettings
from streaming.evaluation.bootstrap import draw
from streaming.evaluation.log import KINDS, Log
from streaming.evaluation.moments import Moment
from streaming.evaluation.protocols import cold, leave_one_out
from streaming.learning import Training, learn_sequence
from streaming.past import past_of
from streaming.settings import Settings
from streaming.shop import ShopFolder
from streaming.text_encoder import text_encoder

SEED = 7


def settings_of(arm: str, epochs: int, seed: int) -> SequenceSettings:
    """How an arm is trained."""
    kind, _, weight = arm.partition(":")
    each = float(weight or 0.1)
    return SequenceSettings(
        joint="yes" if kind.startswith("joint") else "no",
        text_weight=0.0 if kind == "joint-graph" else each,
        graph_weight=0.0 if kind == "joint-text" else each,
        epochs=epochs,
        budget_s=1e9,
        seed=seed,
    )


def ranks(
    space: SequenceSpace, items: Vector, moments: Sequence[Moment], places: dict[int, int]
) -> tuple[list[int], list[int]]:
    """Of each moment that can be asked, its last item's rank among all, 0 the best, and that item."""
    encoder, found, targets = space.encoder(1), [], []
    for moment in moments:
        codes = [places[code] for code in moment.items.tolist()]
        target, history = codes[-1], codes[-21:-1]
        if not history:
            continue
        kinds = [KINDS[kind] for kind in moment.kinds.tolist()][-21:-1]
        gaps = np.diff(moment.times[-21:-1], prepend=moment.times[-21:-1][:1]).tolist()
        seen = np.concatenate([np.ones((len(history), 1), np.float32), items[history]], axis=1)
        direction = encoder.vector(encoder.steps(encoder.start(), seen, kinds, gaps)[-1])[1:]
        scores = items @ direction
        own = scores[target]
        scores[codes[:-1]] = -np.inf
        found.append(int((scores > own).sum()) + int((scores == own).sum() - 1) // 2)
        targets.append(target)
    return found, targets


def main() -> None:
    """Trains and asks each arm."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shop", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("arms", nargs="+")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args()
    folder = ShopFolder(told.shop)
    events, items, facts = (folder.table(name)[0] for name in ("events", "items", "facts"))
    log = Log.of(events, items, facts, folder.info)
    hidden = cold(log)
    split = leave_one_out(log, hidden)
    with text_encoder(Settings.from_environment()) as texts:
        past = past_of(log.events, items, facts, folder.info, texts).until(split.part.events)
    tables = fit_tables(past.events, items, facts, past.whitening, TableSettings(graph="none"))
    ids = items["item_id"].to_list()
    known: list[Sequence[Fact]] = [tables.graph.facts(item_id) for item_id in ids]
    whitened = past.whitening.apply(past.texts)
    place = {item_id: number for number, item_id in enumerate(ids)}
    places = {code: place[item_id] for code, item_id in enumerate(log.catalogue.all())}
    blind = np.zeros(len(ids), np.bool_)
    blind[[places[code] for code in np.flatnonzero(hidden).tolist()]] = True
    told.folder.mkdir(parents=True, exist_ok=True)
    training = Training(checkpoints=told.folder / "checkpoints")
    for arm in told.arms:
        since = time.process_time()
        its = known
        if "shuffled" in arm:
            order = np.random.default_rng(SEED).permutation(len(ids)).tolist()
            its = [[Fact(ids[at], *fact[1:]) for fact in known[other]] for at, other in enumerate(order)]
        settings = settings_of(arm.replace("-shuffled", ""), told.epochs, told.seed)
        learned = learn_sequence(past.events, ids, whitened, settings, training, lambda *_: None, its)
        assert learned.space is not None
        vectors = learned.space.vectors(ids, whitened, its)
        found, targets = ranks(learned.space, vectors, split.moments, places)
        gained = np.array([1 / np.log2(rank + 2) if rank < 10 else 0.0 for rank in found])
        hits = np.array([rank < 10 for rank in found])
        new = blind[targets]
        np.savez(told.folder / f"{arm.replace(':', '-')}-{told.seed}.npz", ndcg=gained, hit=hits, cold=new)
        line = {"arm": arm, "seed": told.seed, "cpu_s": round(time.process_time() - since)}
        line |= {"epochs": len(learned.curves[0].x), "curve": [round(y, 4) for y in learned.curves[1].y]}
        if learned.space.unmet is not None:
            line["shares"] = learned.space.unmet.shares.tolist()
        for label, of in (("warm", ~new), ("cold", new)):
            line[f"n_{label}"] = int(of.sum())
            line[f"ndcg_10_{label}"] = round(float(gained[of].mean()), 5)
            line[f"hr_10_{label}"] = round(float(hits[of].mean()), 5)
            line |= beside(told.folder / f"separate-{told.seed}.npz", gained, of, label)
        print(json.dumps(line), flush=True)


def beside(separate: Path, gained: NDArray[np.float64], of: NDArray[np.bool_], label: str) -> dict[str, list[float]]:
    """The interval of what an arm gains over `separate`."""
    if not separate.is_file():
        return {}
    both = np.stack([gained, np.load(separate)["ndcg"]], axis=1)[of]
    interval = draw(both, np.arange(len(both))).difference(0, 1)
    return {f"ndcg_10_{label}_gain": [round(float(end), 5) for end in interval]}


if __name__ == "__main__":
    main()

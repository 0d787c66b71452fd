"""A model out of a shop's past: what `beforehand build`, `evaluate` and the demo all do."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any

from encoders.errors import EncoderError
from encoders.graph.choosing import Trial
from encoders.text import TextEncoder
from index.errors import IndexingError
from index.forest_fitting import ForestSettings
from index.model import Manifest, ModelFolder
from index.table_fitting import fit_tables, with_graph
from index.tables import GraphMethod, Tables, TableSettings
from streaming.errors import InputError
from streaming.fitting import Chosen, Curve, choose_on
from streaming.graph_choice import choose_graph
from streaming.holdout import MOMENTS, Held, hold_out, hold_out_last
from streaming.intent_fitting import fit_intents
from streaming.item_rows import items_of
from streaming.items import Shop
from streaming.learning import Learned, Training, learn_sequence
from streaming.past import Note, Past, data_digest, ranking_settings, silent, table_settings
from streaming.ranking import RankingSettings
from streaming.text_encoder import int8_of

UNTRAINED = Training()
"""Networks, where there are any, on the CPU and without leaving where they stand."""


@dataclass(slots=True)
class BuildReport:
    """What a build saw and how long each stage took."""

    model: str
    version: str
    metrics: dict[str, float]
    ranking: dict[str, float]
    """The weights that were chosen."""
    stages_s: dict[str, float] = field(default_factory=dict)
    """Wall time by stage, in order."""

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "model": self.model,
            "version": self.version,
            **self.metrics,
            "ranking": self.ranking,
            "build_s": round(sum(self.stages_s.values()), 3),
            "stages_s": {name: round(seconds, 3) for name, seconds in self.stages_s.items()},
        }


class Stopwatch:
    """Wall time by stage; a stage ends when the next begins."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.stages_s: dict[str, float] = {}
        self._clock = clock
        self._stage: str | None = None
        self._since = 0.0

    def begin(self, stage: str | None) -> None:
        """The stage that runs from now on; None: none does."""
        now = self._clock()
        if self._stage is not None:
            self.stages_s[self._stage] = self.stages_s.get(self._stage, 0.0) + now - self._since
        self._stage, self._since = stage, now


def fitted(past: Past, settings: TableSettings, note: Note = silent) -> Tables:
    """The tables of a past."""
    return fit_tables(past.events, past.items, past.facts, past.whitening, settings, note)


def with_sequence(
    past: Past, tables: Tables, encoder: TextEncoder, training: Training, note: Note = silent
) -> tuple[Tables, Learned | None]:
    """These tables with the network that their settings ask for, trained on the past, and how that went; None: they
    ask for none. What the settings left to choose is chosen in those of the tables that are returned."""
    if tables.settings.sequence is None:
        return tables, None
    texts = past.whitening.apply(past.texts)
    ids = past.items["item_id"].to_list()
    facts = [tables.graph.facts(item_id) for item_id in ids]
    titles = past.items["title"].fill_null("").to_list() if past.info.titles else []
    wanted = tables.settings.sequence
    learned = learn_sequence(past.events, ids, texts, wanted, training, note, facts, titles, encoder)
    settings = replace(tables.settings, sequence=learned.settings)
    return replace(tables, settings=settings, sequence=learned.space), learned


def stocked(past: Past, tables: Tables, encoder: TextEncoder) -> Shop:
    """A shop with all its items; nothing is chosen yet."""
    shop = Shop(encoder, tables)
    shop.stock(list(items_of(past.items)), past.texts)
    return shop


@dataclass(frozen=True, slots=True)
class Before:
    """A shop as it was before the last part of its past, and that part: what everything else is chosen on."""

    held: Held
    shop: Shop
    """Graph vectors and network are chosen already."""
    start: RankingSettings
    """Where the choice of weights begins."""
    trials: tuple[Trial, ...] = ()
    """As `Chosen.trials`."""
    learned: Learned | None = None
    """How training of its network went; None: it has none."""


def before_the_last(
    past: Past,
    encoder: TextEncoder,
    settings: TableSettings,
    *,
    training: Training = UNTRAINED,
    moments: int = MOMENTS,
    note: Note = silent,
    leave_one_out: bool = False,
) -> Before:
    """The last part of a past held out, and a shop of what was before it, with all that torch has to do for it.

    Args:
        moments: to choose on, at most.
        leave_one_out: on each session's last item instead, for a test that asks for just that.
    """
    if leave_one_out:
        had = past.items["item_id"].is_in(past.events["item_id"].unique().implode())
        held = hold_out_last(past.events, count=moments, unknown=1 - float(had.sum()) / max(len(had), 1))
    else:
        held = hold_out(past.events, endless=past.info.session_idle_ms == 0, count=moments)
    tables = fitted(past.until(held.before), settings, note)
    start, trials = ranking_settings(past.info), tuple[Trial, ...]()
    if settings.graph == "auto":
        note("facts", 0, 1)
        choice = choose_graph(tables, past.items["item_id"].to_list(), held.moments, start)
        trials = tuple(choice.trials)
        method: GraphMethod = "svd" if trials[0].method == "svd" else "kge"
        tables = replace(tables, settings=replace(settings, graph=method), graph_vectors=choice.vectors)
        note("facts", 1, 1)
    tables, learned = with_sequence(past.until(held.before), tables, encoder, training, note)
    return Before(held, stocked(past, tables, encoder), start, trials, learned)


def chosen_on(before: Before, *, ordered: bool, forest: ForestSettings | None = None, note: Note = silent) -> Chosen:
    """Weights, forest and calibration, chosen on what was held out.

    Args:
        ordered: as `choose_on`.
        forest: how the forest is grown that ranks the best once more; None: none is.
    """
    note("weights", 0, 1)
    chosen = choose_on(before.held, before.shop, before.start, ordered=ordered, forest=forest)
    note("weights", 1, 1)
    learned = before.learned
    curves = () if learned is None else learned.curves
    named = tuple(curve._replace(name=f"{curve.name}, without the last part") for curve in curves)
    told = {} if learned is None or learned.trial is None else {"joint": asdict(learned.trial)}
    return replace(chosen, trials=before.trials, curves=(*named, *chosen.curves), told=told)


def taught(past: Past, encoder: TextEncoder, chosen: Chosen, *, training: Training = UNTRAINED) -> Shop:
    """A shop with tables of all of the past, made and ranked as chosen."""
    tables = replace(fitted(past, replace(chosen.tables, graph="none")), settings=chosen.tables)
    return _as_chosen(stocked(past, completed(past, tables, encoder, training)[0], encoder), chosen)


def completed(
    past: Past, tables: Tables, encoder: TextEncoder, training: Training, note: Note = silent
) -> tuple[Tables, Learned | None]:
    """Tables of a past that lack what torch has to do, with it: vectors of facts and the network, as their settings
    say."""
    return with_sequence(past, with_graph(tables, past.items["item_id"]), encoder, training, note)


def _as_chosen(shop: Shop, chosen: Chosen) -> Shop:
    """The shop, ranking as chosen."""
    shop.ranking, shop.calibration, shop.forest = asdict(chosen.ranking), chosen.calibration, chosen.forest
    shop.gate = chosen.gate
    return shop


class _GivenUpError(Exception):
    """Nobody waits for it any more."""


def made(
    past: Past,
    encoder: TextEncoder,
    settings: TableSettings,
    *,
    forest: ForestSettings | None = None,
    training: Training = UNTRAINED,
    moments: int = MOMENTS,
    note: Note = silent,
    leave_one_out: bool = False,
) -> tuple[Chosen, Shop, tuple[Curve, ...]]:
    """What is chosen on the last part of a past, the shop of all of it that is `taught` so, and how training of its
    network went. One core for each: tables of all of the past are fitted beside those of what was before its last part,
    and what torch has to do for them beside the choice of weights, of which it needs nothing; torch, which has one
    source of chance, is never asked by both.

    Args:
        forest: as `chosen_on`.
        moments, leave_one_out: as `before_the_last`.
    """
    given_up = Event()

    def unless_given_up(_stage: str, _done: int, _total: int) -> None:
        if given_up.is_set():
            raise _GivenUpError

    with ThreadPoolExecutor(1) as beside:
        try:
            whole = beside.submit(fitted, past, replace(settings, graph="none"), unless_given_up)
            before = before_the_last(
                past,
                encoder,
                settings,
                training=training,
                moments=moments,
                note=note,
                leave_one_out=leave_one_out,
            )
            tables = replace(whole.result(), settings=before.shop.tables.settings)
            rest = beside.submit(completed, past, tables, encoder, training, unless_given_up)
            if settings.sequence is not None and settings.sequence.network == "text":
                rest.result()  # it reads, and so does the choice of weights: tokenizers are not for two threads
            chosen = chosen_on(before, ordered=past.info.ordered, forest=forest, note=note)
            del before
            if settings.sequence is not None:
                note("network", 0, 1)
            tables, learned = rest.result()
            if settings.sequence is not None:
                note("network", 1, 1)
        except BaseException:
            given_up.set()
            raise
    shop = _as_chosen(stocked(past, tables, encoder), chosen)
    return chosen, shop, () if learned is None else tuple(learned.curves)


def build_model(
    past: Past,
    folder: Path,
    encoder: TextEncoder,
    *,
    settings: TableSettings | None = None,
    forest: ForestSettings | None = None,
    training: Training = UNTRAINED,
    until: int | None = None,
    moments: int = MOMENTS,
    note: Note = silent,
    adapter: Path | None = None,
) -> tuple[ModelFolder, BuildReport]:
    """A model of a shop's past, written to `folder`. Equal input gives an equal folder.

    Args:
        settings: of the tables; None: as `table_settings` has them.
        forest: how the forest is grown that ranks the best once more; None: none is.
        until: as `past_of` had it, for the manifest.
        moments: that weights are chosen on, at most.
        adapter: of the encoder; the folder brings it along, and in int8 base and adapter in one.

    Raises:
        InputError: `folder` is something that is no model folder.
    """
    watch = Stopwatch()

    def heard(stage: str, done: int, total: int) -> None:
        watch.begin(stage)
        note(stage, done, total)

    try:
        settings = settings or table_settings(past.info)
        chosen, shop, curves = made(
            past, encoder, settings, forest=forest, training=training, moments=moments, note=heard
        )
        heard("intent", 0, 1)
        intents = fit_intents(past.events if past.log is None else past.log, past.info.session_idle_ms)
        heard("writing", 0, 1)
        metrics = {
            "events": len(past.events),
            "items": len(past.items),
            "moments": chosen.moments,
            "ndcg_10_held_out": chosen.tuned.held_out,
        }
        if chosen.calibration.quality is not None:
            metrics |= {f"calibration_{name}": value for name, value in asdict(chosen.calibration.quality).items()}
        if chosen.gate.model.quality is not None:
            metrics |= {f"gate_{name}": value for name, value in asdict(chosen.gate.model.quality).items()}
        for head, told in intents.items():
            if told.quality is not None:
                metrics |= {f"{head}_{name}": value for name, value in asdict(told.quality).items()}
        model = ModelFolder(
            Manifest(
                data=data_digest(past.events, past.items),
                text=encoder.digest,
                settings={
                    "until": until,
                    "ranking": asdict(chosen.ranking),
                    "calibration": chosen.calibration.to_dict(),
                    "gate": chosen.gate.to_dict(),
                    "intent": {name: head.to_dict() for name, head in intents.items()},
                    "graph": [trial._asdict() for trial in chosen.trials],
                    "forest": None if forest is None else asdict(forest),
                    "moments": moments,
                    "shop": past.info.model_dump(
                        include={"time_zone", "session_idle_ms", "repeats_allowed", "ordered"}
                    ),
                },
                metrics=metrics,
                seeds=seeds_of(settings, forest),
            ),
            shop.tables,
            past.items,
            shop.index,
            shop.forest,
            [curve._asdict() for curve in (*curves, *chosen.curves)],
            chosen.told,
            adapter,
            int8_of(encoder),
        ).save(folder)
        heard("writing", 1, 1)
    except (EncoderError, IndexingError) as exc:
        raise InputError(str(exc)) from exc
    watch.begin(None)
    ranking = {name: value for name, value in asdict(chosen.ranking).items() if isinstance(value, float)}
    return model, BuildReport(str(folder), model.version, metrics, ranking, watch.stages_s)


def seeds_of(settings: TableSettings, forest: ForestSettings | None) -> dict[str, int]:
    """Of everything that draws numbers."""
    seeds = {"behaviour": settings.behaviour.seed}
    if settings.sequence is not None:
        seeds["sequence"] = settings.sequence.seed
    return seeds if forest is None else seeds | {"forest": forest.seed}

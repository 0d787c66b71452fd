"""A model out of a shop's past: what `beforehand build`, `evaluate` and the demo all do."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from encoders.catalogue import item_text
from encoders.errors import EncoderError
from encoders.graph.facts import Relations
from encoders.sequence.settings import SequenceSettings
from encoders.text import TextEncoder, Vectors
from encoders.whitening import Whitening
from index.co_settings import CoSettings
from index.errors import IndexingError
from index.forest_fitting import ForestSettings
from index.lesson import LEARNING_KINDS
from index.model import Manifest, ModelFolder
from index.table_fitting import fit_tables
from index.tables import GraphMethod, Tables, TableSettings
from streaming import intent_fitting
from streaming.errors import InputError
from streaming.fitting import Chosen, Curve, choose_on
from streaming.graph_choice import choose_graph
from streaming.holdout import MOMENTS, hold_out, hold_out_last
from streaming.intent_fitting import fit_intents
from streaming.item_rows import items_of
from streaming.items import Shop
from streaming.learning import Learned, Training, learn_sequence
from streaming.ranking import RankingSettings
from streaming.shop import ShopInfo
from streaming.text_encoder import int8_of

TEXT_DIMENSION = 128
TEXTS_AT_ONCE = 256
DIGEST_ROWS = 200_000
TEXT_COLUMNS = ("title", "brand", "category")
EVENT_COLUMNS = ("kind", "session_id", "time", "item_id", "user_id")

UNTRAINED = Training()
"""Networks, where there are any, on the CPU and without leaving where they stand."""

Note = Callable[[str, int, int], None]
"""Hears of the stage, what is done of it, and the total."""


def _silent(_stage: str, _done: int, _total: int) -> None:
    """No progress."""


@dataclass(frozen=True, slots=True)
class Past:
    """What a model is made of."""

    info: ShopInfo
    events: pl.DataFrame
    """kind, session_id, time, item_id, user_id; in time order, of kinds that teach."""
    items: pl.DataFrame
    facts: pl.DataFrame
    texts: Vectors
    """(items, text encoder's dimension), of the items in their order; zeros where titles say nothing."""
    whitening: Whitening
    log: pl.DataFrame | None = None
    """Every event, whatever its kind, with what heads of intent are fitted on; None: `events` are all there are."""

    def until(self, events: pl.DataFrame) -> Past:
        """The same shop, of which no more than these events have happened."""
        return replace(self, events=events, log=None)


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


def past_of(
    events: pl.DataFrame,
    items: pl.DataFrame,
    facts: pl.DataFrame,
    info: ShopInfo,
    encoder: TextEncoder,
    *,
    until: int | None = None,
    note: Note = _silent,
) -> Past:
    """A shop's past with the vectors of its items' texts, each text encoded once.

    Args:
        until: ms since the epoch; only events before it are looked at.

    Raises:
        InputError: there are no items.
    """
    if items.is_empty():
        raise InputError("the shop has no items, expected a table `items` with at least one; add it")
    if "user_id" not in events.columns:
        events = events.with_columns(user_id=pl.lit(None, pl.String))
    if until is not None:
        events = events.filter(pl.col("time") < until)
    events = events.sort("time", maintain_order=True)
    log = events.select(pl.col(name) for name in intent_fitting.COLUMNS if name in events.columns)
    used = events.select(EVENT_COLUMNS).filter(pl.col("kind").is_in(LEARNING_KINDS), pl.col("item_id").is_not_null())
    if not info.titles:
        nothing = np.zeros((len(items), encoder.dimension), np.float32)
        return Past(info, used, items, facts, nothing, Whitening.identity(encoder.dimension), log)
    lacking = [pl.lit(None, pl.String).alias(name) for name in TEXT_COLUMNS if name not in items.columns]
    texts = [item_text(*row) for row in items.with_columns(lacking).select(TEXT_COLUMNS).iter_rows()]
    distinct = list(dict.fromkeys(texts))
    note("texts", 0, len(distinct))
    parts = []
    for start in range(0, len(distinct), TEXTS_AT_ONCE):
        parts.append(encoder.encode(distinct[start : start + TEXTS_AT_ONCE]))
        note("texts", min(start + TEXTS_AT_ONCE, len(distinct)), len(distinct))
    vectors = np.concatenate(parts)
    place = {text: number for number, text in enumerate(distinct)}
    rows = vectors[[place[text] for text in texts]]
    return Past(info, used, items, facts, rows, Whitening.fit(vectors, TEXT_DIMENSION), log)


def table_settings(
    info: ShopInfo,
    relations: Relations = "safe",
    graph: GraphMethod = "svd",
    sequence: SequenceSettings | None = None,
) -> TableSettings:
    """How the tables of such a shop are made."""
    counts = CoSettings(self_pairs=info.repeats_allowed)
    if not info.ordered:
        counts = replace(counts, backward=1.0, damping=0.0, by_distance=False)
    return TableSettings(counts=counts, relations=relations, graph=graph, sequence=sequence)


def ranking_settings(info: ShopInfo) -> RankingSettings:
    """Where the choice of weights begins."""
    start = RankingSettings(repeat=info.repeats_allowed)
    return start if info.ordered else replace(start, decay=0.9)


def fitted(past: Past, settings: TableSettings, note: Note = _silent) -> Tables:
    """The tables of a past."""
    return fit_tables(past.events, past.items, past.facts, past.whitening, settings, note)


def with_sequence(
    past: Past, tables: Tables, encoder: TextEncoder, training: Training, note: Note = _silent
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


def choose(
    past: Past,
    encoder: TextEncoder,
    settings: TableSettings,
    *,
    forest: ForestSettings | None = None,
    training: Training = UNTRAINED,
    moments: int = MOMENTS,
    note: Note = _silent,
    leave_one_out: bool = False,
) -> Chosen:
    """Weights, forest and calibration, chosen on the last part of the past by tables of what was before it.

    Args:
        forest: how the forest is grown that ranks the best once more; None: none is.
        moments: to choose on, at most.
        leave_one_out: on each session's last item instead, for a test that asks for just that.
    """
    if leave_one_out:
        had = past.items["item_id"].is_in(past.events["item_id"].unique().implode())
        held = hold_out_last(past.events, count=moments, unknown=1 - float(had.sum()) / max(len(had), 1))
    else:
        held = hold_out(past.events, endless=past.info.session_idle_ms == 0, count=moments)
    tables = fitted(past.until(held.before), settings, note)
    start, trials = ranking_settings(past.info), []
    if settings.graph == "auto":
        note("facts", 0, 1)
        choice = choose_graph(tables, past.items["item_id"].to_list(), held.moments, start)
        trials = choice.trials
        method: GraphMethod = "svd" if trials[0].method == "svd" else "kge"
        tables = replace(tables, settings=replace(settings, graph=method), graph_vectors=choice.vectors)
        note("facts", 1, 1)
    tables, learned = with_sequence(past.until(held.before), tables, encoder, training, note)
    shop = stocked(past, tables, encoder)
    note("weights", 0, 1)
    chosen = choose_on(held, shop, start, ordered=past.info.ordered, forest=forest)
    note("weights", 1, 1)
    curves = () if learned is None else learned.curves
    named = tuple(curve._replace(name=f"{curve.name}, without the last part") for curve in curves)
    told = {} if learned is None or learned.trial is None else {"joint": asdict(learned.trial)}
    return replace(chosen, trials=tuple(trials), curves=(*named, *chosen.curves), told=told)


def taught(
    past: Past,
    encoder: TextEncoder,
    chosen: Chosen,
    note: Note = _silent,
    tables: Tables | None = None,
    training: Training = UNTRAINED,
) -> tuple[Shop, tuple[Curve, ...]]:
    """A shop with tables of all of the past, made and ranked as chosen, and how training of its network went.

    Args:
        tables: they are fitted already, all but the network.
    """
    tables = tables or fitted(past, chosen.tables, note)
    tables = replace(tables, settings=replace(tables.settings, sequence=chosen.tables.sequence))
    tables, learned = with_sequence(past, tables, encoder, training, note)
    shop = stocked(past, tables, encoder)
    shop.ranking, shop.calibration, shop.forest = asdict(chosen.ranking), chosen.calibration, chosen.forest
    shop.gate = chosen.gate
    return shop, () if learned is None else tuple(learned.curves)


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
    note: Note = _silent,
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
        with ThreadPoolExecutor(1) as beside:
            # Where nothing of them is chosen, the tables of all of the past are fitted while weights are.
            fitting = beside.submit(fitted, past, settings) if settings.graph != "auto" else None
            chosen = choose(past, encoder, settings, forest=forest, training=training, moments=moments, note=heard)
            tables = fitting.result() if fitting is not None else None
        shop, curves = taught(past, encoder, chosen, heard, tables, training)
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


def data_digest(events: pl.DataFrame, items: pl.DataFrame) -> str:
    """16 hex characters of the rows, their order included; nested columns of the items are left out."""
    content = hashlib.sha256()
    flat = items.select(name for name, kind in items.schema.items() if not kind.is_nested())
    for frame in (events.select(EVENT_COLUMNS), flat):
        content.update(repr(frame.columns).encode())
        for part in frame.iter_slices(DIGEST_ROWS):
            content.update(part.write_csv(include_header=False).encode())
    return content.hexdigest()[:16]

"""Every ranker of the contest, on a small shop, with answers to every question of a replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from encoders.baselines.light_gcn import GraphSettings
from encoders.baselines.sequence_networks import SequenceSettings
from encoders.text import DummyTextEncoder
from streaming.evaluation.contest import contest
from streaming.evaluation.evaluation import Entry, ask_all
from streaming.evaluation.log import Log
from streaming.evaluation.moments import Split
from streaming.evaluation.nearest_text import text_vectors
from streaming.evaluation.product import Workshop
from streaming.evaluation.protocols import temporal
from streaming.evaluation.shelf import Settings, Shelf
from streaming.holdout import MOMENTS
from streaming.past import past_of, table_settings
from streaming.shop import ShopInfo
from tests.streaming.evaluation.logs import START

SMALL: Mapping[str, Settings] = {
    "SASRec": SequenceSettings(dimension=8, blocks=1, longest=8, tokens=128, uniform=16, shared=8, epochs=3),
    "GRU4Rec": SequenceSettings("gru4rec", dimension=8, longest=8, tokens=128, uniform=16, shared=8, epochs=3),
    "LightGCN": GraphSettings(dimension=8, batch=128, uniform=16, shared=8, epochs=3),
}
"""Networks that are trained in a second."""
TITLES = [
    f"{colour} {thing}" for colour in ("red", "green", "blue", "white") for thing in ("cup", "pan", "rug", "lamp")
]
ITEMS = [f"i{number}" for number in range(len(TITLES))]
SESSIONS, LENGTH = 120, 5
TEST = SESSIONS * 9 // 10
"""The first session of the test period."""


def rows_of(seed: int = 3) -> list[tuple[str, str, int]]:
    """Session, item, second: each walks things of one colour in order, an hour after the one before."""
    chance = np.random.default_rng(seed)
    rows = []
    for number in range(SESSIONS):
        colour, begin = chance.integers(4), chance.integers(4)
        rows += [
            (f"s{number}", f"i{colour * 4 + (begin + place) % 4}", number * 3600 + place * 10)
            for place in range(LENGTH)
        ]
    return rows


def log_of_rows(rows: Sequence[tuple[str, str, int]], catalogue: Sequence[str] = ITEMS) -> Log:
    """A log whose test period begins with session `TEST`; `catalogue`: the items that its table has."""
    events = pl.DataFrame(
        {
            "kind": ["view"] * len(rows),
            "session_id": [session for session, _, _ in rows],
            "time": [START + second * 1000 for _, _, second in rows],
            "item_id": [item for _, item, _ in rows],
            "user_id": pl.Series([session for session, _, _ in rows], dtype=pl.String),
            "split": ["test" if second >= TEST * 3600 else "train" for _, _, second in rows],
        }
    )
    titles = dict(zip(ITEMS, TITLES, strict=True))
    items = pl.DataFrame({"item_id": list(catalogue), "title": [titles.get(item, "green pan") for item in catalogue]})
    facts = pl.DataFrame(schema={"head": pl.String, "relation": pl.String, "tail": pl.String})
    return Log.of(events, items, facts, ShopInfo(repeats_allowed=True))


def entries_of(log: Log, split: Split, folder: Path, *, online: bool) -> list[Entry]:
    """The product, its variants and all baselines, the trained ones too."""
    texts = DummyTextEncoder()
    past = past_of(log.events, log.items, log.facts, log.info, texts)
    workshop = Workshop(texts, table_settings(log.info), None, MOMENTS, past)
    networks = Shelf(folder, networks=SMALL).rankers(split.part, train=True)
    return list(contest(workshop, text_vectors(past, log.catalogue), networks, online=online))


def answered(log: Log, folder: Path, *, online: bool) -> tuple[Split, dict[str, NDArray[np.int32]]]:
    """The temporal replay: what each ranker lists at each moment, by its name."""
    split = temporal(log, repeats=True)
    told = ask_all(split, entries_of(log, split, folder, online=online))
    return split, {each.name: each.answers.lists for each in told}

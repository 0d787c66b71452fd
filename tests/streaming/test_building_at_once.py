"""A model made on two cores at once is the one that would be made in turn."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from encoders.sequence.settings import Network, SequenceSettings
from encoders.text import DummyTextEncoder
from index.tables import GraphMethod, Tables, TableSettings
from streaming import building
from streaming.building import Before, before_the_last, chosen_on, fitted, made, stocked, taught
from streaming.holdout import hold_out
from streaming.past import Past, ranking_settings, table_settings
from tests.streaming.test_building import events, past

SESSIONS = events().vstack(
    events().with_columns(pl.concat_str(pl.lit("again-"), "session_id").alias("session_id"), pl.col("time") + 200)
)
"""Enough for a network."""


@pytest.mark.parametrize("graph", ["svd", "kge", "auto", "none"])
def test_what_is_made_at_once_is_what_is_made_in_turn(graph: GraphMethod) -> None:
    texts, known = DummyTextEncoder(), past(frame=SESSIONS)
    settings = replace(table_settings(known.info), graph=graph, sequence=SequenceSettings(epochs=2, free=4, hidden=4))
    expected = chosen_on(before_the_last(known, texts, settings), ordered=known.info.ordered)
    chosen, shop, curves = made(known, texts, settings)
    assert (chosen.ranking, chosen.tables, chosen.gate) == (expected.ranking, expected.tables, expected.gate)
    assert chosen.calibration.to_dict() == expected.calibration.to_dict()
    other, codes = taught(known, texts, expected), np.arange(3, dtype=np.int32)
    assert shop.index.vectors(codes).tobytes() == other.index.vectors(codes).tobytes()
    assert (shop.snapshot, shop.tables.settings) == (other.snapshot, other.tables.settings)
    assert shop.tables.settings.graph == ("svd" if graph == "auto" else graph)
    assert [(curve.metric, len(curve.x)) for curve in curves] == [("loss", 2), ("ndcg_10", 2)]


def before_at_hand(known: Past, settings: TableSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes first is there without any training."""
    shop = stocked(known, fitted(known, settings), DummyTextEncoder())
    before = Before(hold_out(known.events, endless=True), shop, ranking_settings(known.info))
    monkeypatch.setattr(building, "before_the_last", lambda *_, **__: before)


def test_a_training_whose_model_is_given_up_ends_with_its_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    known, epochs = past(frame=SESSIONS), list[int]()
    under_way, given_up = threading.Event(), threading.Event()
    completed = building.completed

    def noted(*arguments: Any) -> Any:
        *others, note = arguments

        def heard(stage: str, done: int, total: int) -> None:
            epochs.append(done)
            if done == 1:
                under_way.set()
                given_up.wait(10)  # no longer: who is never told so goes on, and is heard of again
            note(stage, done, total)

        return completed(*others, heard)

    def interrupted(*_: Any, **__: Any) -> None:
        assert under_way.wait(60)
        raise KeyboardInterrupt

    settings = replace(table_settings(known.info), sequence=SequenceSettings(epochs=3, free=4, hidden=4))
    before_at_hand(known, settings, monkeypatch)
    monkeypatch.setattr(building, "Event", lambda: given_up)
    monkeypatch.setattr(building, "completed", noted)
    monkeypatch.setattr(building, "chosen_on", interrupted)
    with pytest.raises(KeyboardInterrupt):
        made(known, DummyTextEncoder(), settings)
    assert epochs == [0, 1]


@pytest.mark.parametrize(("network", "at_once"), [("gru", True), ("bert", True), ("text", False)])
def test_only_a_network_that_reads_is_not_trained_beside_the_choice_of_weights(
    monkeypatch: pytest.MonkeyPatch, network: Network, at_once: bool
) -> None:
    known, choosing, seen = past(frame=SESSIONS), threading.Event(), list[bool]()

    def trained(_past: Past, tables: Tables, *_: Any) -> tuple[Tables, None]:
        seen.append(choosing.wait(30 if at_once else 0.3))
        return tables, None

    def chosen_meanwhile(*arguments: Any, **more: Any) -> Any:
        choosing.set()
        return chosen_on(*arguments, **more)

    settings = replace(table_settings(known.info), sequence=SequenceSettings(network=network))
    before_at_hand(known, settings, monkeypatch)
    monkeypatch.setattr(building, "completed", trained)
    monkeypatch.setattr(building, "chosen_on", chosen_meanwhile)
    made(known, DummyTextEncoder(), settings)
    assert seen == [at_once]

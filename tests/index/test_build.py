import polars as pl
import pytest

from encoders.text import DummyTextEncoder
from index.build import BuildSettings, build, data_digest
from index.counts import CountSettings
from index.model import ModelFolder

EVENTS = pl.DataFrame(
    {
        "kind": ["view", "cart_add", "exit", "view", "impression", "purchase", "view"],
        "session_id": ["s", "s", "s", "t", "t", "t", "t"],
        "time": [1000, 2000, 3000, 5000, 5500, 4000, 9000],
        "item_id": ["tea", "mug", None, "tea", "spam", "milk", "late"],
    }
)
ITEMS = pl.DataFrame(
    {
        "item_id": ["spam", "tea", "mug", "milk", "unseen"],
        "title": ["Spam", "Green tea", "Mug", "Whole milk", "Hammer"],
        "brand": [None, "Alpine", None, None, None],
    }
)


class Recorder(DummyTextEncoder):
    def __init__(self):
        self.texts = []

    def encode(self, texts):
        self.texts += texts
        return super().encode(texts)


def test_a_model_is_built_from_what_came_before(tmp_path):
    build(EVENTS, ITEMS, tmp_path / "model", DummyTextEncoder(), until=9000)
    model = ModelFolder.load(tmp_path / "model")
    assert model.counts.support("tea", "mug") == 1
    assert model.counts.prior("late") == model.counts.prior("spam") == 0
    assert model.counts.popular(1) == [("tea", 1.0)]
    # In order of time the purchase of milk came before the view of tea.
    forward, back = (model.counts.neighbours([(item, 1.0)], 9) for item in ("milk", "tea"))
    assert forward[0][0] == "tea"
    assert {name: score for name, score, _ in back}["milk"] < forward[0][1]
    assert model.items.equals(ITEMS)
    assert model.whitening.dimension == DummyTextEncoder.dimension
    assert model.manifest.text == DummyTextEncoder.digest
    assert model.manifest.metrics == {"events": 4, "items": 5, "items_met": 3, "texts": 5}
    assert model.manifest.settings["until"] == 9000


def test_all_events_without_until(tmp_path):
    assert build(EVENTS, ITEMS, tmp_path / "model", DummyTextEncoder()).counts.prior("late") > 0


def test_only_the_most_popular_texts_are_encoded(tmp_path):
    encoder = Recorder()
    build(EVENTS, ITEMS, tmp_path / "model", encoder, settings=BuildSettings(sample=2))
    assert encoder.texts == ["Green tea, Alpine", "Whole milk"]


def test_progress_is_told_by_stage(tmp_path):
    told = []
    build(
        EVENTS,
        ITEMS,
        tmp_path / "model",
        DummyTextEncoder(),
        progress=lambda *step: told.append(step),
        settings=BuildSettings(chunk=2),
    )
    assert [step for step in told if step[0] == "texts"] == [("texts", n, 5) for n in (0, 2, 4, 5)]
    assert list(dict.fromkeys(stage for stage, _, _ in told)) == ["counts", "texts", "whitening", "writing"]
    assert all((stage, total, total) in told for stage, _, total in told)


def test_equal_input_gives_an_equal_folder_and_other_input_another(tmp_path):
    first = build(EVENTS, ITEMS, tmp_path / "a", DummyTextEncoder())
    again = build(EVENTS, ITEMS, tmp_path / "b", DummyTextEncoder())
    other = build(EVENTS[:-1], ITEMS, tmp_path / "c", DummyTextEncoder())
    assert first.version == again.version
    assert first.manifest.data == again.manifest.data != other.manifest.data
    assert data_digest(EVENTS, ITEMS) != data_digest(EVENTS, ITEMS[::-1])


def test_baskets_are_counted_without_direction(tmp_path):
    settings = BuildSettings(counts=CountSettings(backward=1.0))
    counts = build(EVENTS, ITEMS, tmp_path / "model", DummyTextEncoder(), settings=settings, until=3000).counts
    assert counts.neighbours([("tea", 1.0)], 1)[0][1] == counts.neighbours([("mug", 1.0)], 1)[0][1]


def test_a_shop_without_events_or_items_has_a_model_too(tmp_path):
    model = build(EVENTS[:0], ITEMS[:0], tmp_path / "model", DummyTextEncoder())
    assert len(model.counts) == 0
    assert model.whitening.dimension == DummyTextEncoder.dimension


def test_nested_columns_do_not_stop_a_build(tmp_path):
    items = ITEMS.with_columns(tags=pl.Series([["a"], [], ["b", "c"], [], []]))
    build(EVENTS, items, tmp_path / "model", DummyTextEncoder())
    assert ModelFolder.load(tmp_path / "model").items.equals(items)


def test_a_missing_column_is_named(tmp_path):
    with pytest.raises(ValueError, match="events: no column time"):
        build(EVENTS.drop("time"), ITEMS, tmp_path / "model", DummyTextEncoder())
    with pytest.raises(ValueError, match="items: no column title"):
        build(EVENTS, ITEMS.drop("title"), tmp_path / "model", DummyTextEncoder())

import dataclasses
import json

import numpy as np
import polars as pl
import pytest
from xxhash import xxh3_64_digest

from encoders.behaviour import BehaviourSettings
from encoders.errors import EncoderError
from encoders.graph.facts import GOES_WITH, Fact
from encoders.text import DummyTextEncoder
from encoders.whitening import Whitening
from index.co_settings import CoSettings
from index.fusion import LAYOUT
from index.knn_settings import KnnSettings
from index.lesson import Lesson
from index.table_fitting import fit_tables
from index.tables import Tables, TableSettings
from tests.index.counted import visitors
from tests.index.small_tables import FACTS, ITEMS, SESSIONS, START, events, fitted

ALL = ITEMS["item_id"].to_list()
WHITE = Whitening(np.full(64, 0.25, np.float32), np.eye(64, 16, dtype=np.float32))
CHANGED = TableSettings(
    counts=CoSettings(window=3, by_distance=False, half_life_days=2.5),
    knn=KnnSettings(k=7, decay="quadratic"),
    behaviour=BehaviourSettings(dimension=9, seed=4),
    graph="none",
    relations="all",
)


def neighbours(tables, *history):
    """Item -> score, by the sessions alike."""
    found = tables.knn.scores(tables.vocabulary.codes(history), 10)
    return dict(zip(tables.vocabulary.ids(found.codes), found.scores.tolist(), strict=True))


def goes_with(tables, *history):
    """Item -> score, by the counts."""
    found = tables.counts.together(tables.vocabulary.codes(history), np.ones(len(history)), 10)
    return dict(zip(tables.vocabulary.ids(found.codes), found.scores.tolist(), strict=True))


def saved_and_loaded(tables, folder, items=ITEMS):
    tables.save(folder)
    return Tables.load(folder, items, tables.settings)


def spaces(tables, item_ids):
    """Of items whose words say nothing."""
    return tables.spaces(item_ids, np.zeros((len(item_ids), tables.whitening.dimension), np.float32))


def test_the_tables_are_those_of_the_past():
    tables = fitted()
    code = tables.vocabulary.code
    assert tables.vocabulary.ids([0, 1, 2, 3, 4]) == ALL
    assert tables.counts.support(code("tea"), code("mug")) == 3
    assert tables.counts.seen(tables.vocabulary.codes(ALL)).tolist() == [3, 4, 2, 2, 0]
    assert goes_with(tables, "tea")["mug"] > goes_with(tables, "tea")["jam"] > 0
    assert neighbours(tables, "tea", "mug")["pot"] > 0
    assert len(tables.knn) == 11


def test_a_visitor_is_the_user_else_the_session():
    assert visitors(fitted(["tea mug"] * 2).counts, "tea", "mug") == 2
    for users, expected in ((["anna", "anna"], 1), (["anna", "bert"], 2), ([None, "bert"], 2)):
        tables = fitted(["tea mug"] * 2, users=users)
        assert visitors(tables.counts, "tea", "mug") == expected


def test_a_session_is_known_by_the_tag_that_lessons_have():
    tables = fitted(["tea mug", "tea pot"])
    tag = int.from_bytes(xxh3_64_digest(b"s0"), "big", signed=True)
    codes = tables.vocabulary.codes(["tea"])
    left = tables.vocabulary.ids(tables.knn.scores(codes, 10, exclude=tag).codes)
    assert "pot" in left
    assert "mug" not in left


def test_facts_come_from_catalogue_table_and_behaviour():
    graph = fitted().graph
    assert Fact("mug", "brand", "Kiln") in graph.facts("mug")
    assert Fact("mug", "category", "Home > Kitchen") in graph.facts("mug")
    assert Fact("mug", "colour", "blue") in graph.facts("mug")
    assert Fact("mug", "made_for", "tea") in graph.facts("mug")
    assert Fact("tea", GOES_WITH, "mug") in graph.facts("tea")
    assert graph.facts("rug") == [Fact("rug", "category", "Floor")]


def test_what_one_visitor_showed_is_no_fact():
    assert not [fact for item in ALL for fact in fitted(["tea mug"]).graph.facts(item) if fact.relation == GOES_WITH]
    one = fitted(["tea mug"] * 3, users=["anna"] * 3)
    assert not [fact for item in ALL for fact in one.graph.facts(item) if fact.relation == GOES_WITH]


def test_facts_that_a_crawl_took_from_visitors_are_in_only_where_asked_for():
    crawled = Fact("rug", "also_bought", "jam")
    assert crawled not in fitted().graph.facts("rug")
    assert crawled in fitted(settings=TableSettings(relations="all")).graph.facts("rug")


def test_items_without_brand_category_and_attributes_do():
    tables = fitted(items=ITEMS.select("item_id", "title"), facts=FACTS.clear())
    assert tables.graph.facts("mug")  # what visitors showed
    assert all(fact.relation == GOES_WITH for item in ALL for fact in tables.graph.facts(item))


def test_spaces_are_of_the_items_as_they_are_known_now():
    tables = fitted(settings=TableSettings(behaviour=BehaviourSettings(shift=1.0)))
    graph, behaviour, sequence = spaces(tables, ["mug", "pot", "jam", "rug", "never there"])
    assert graph is not None
    assert behaviour is not None
    assert sequence is None
    assert graph.shape == (5, tables.layout.graph)
    assert behaviour.shape == (5, tables.layout.behaviour)
    mug, pot, jam, rug, unknown = graph
    assert mug @ pot > mug @ jam + 0.1  # brand, category and colour
    assert not unknown.any()
    assert np.linalg.norm(behaviour, axis=1) == pytest.approx([1, 1, 1, 0, 0])  # nobody saw the last two
    tables.graph.update("rug", [Fact("rug", "brand", "Kiln")])
    told, *_ = spaces(tables, ["rug"])
    assert told is not None
    assert told[0] @ mug > rug @ mug + 0.1
    tables.graph.remove("rug")
    again, *_ = spaces(tables, ["rug"])
    assert again is not None
    assert again[0].tobytes() == rug.tobytes()


def test_spaces_do_not_depend_on_who_is_asked_for_along():
    tables = fitted()
    together = spaces(tables, ALL)[:2]
    for place, item_id in enumerate(ALL):
        for rows, alone in zip(together, spaces(tables, [item_id])[:2], strict=True):
            assert rows is not None
            assert alone is not None
            assert rows[place].tobytes() == alone[0].tobytes()
    none = [rows.shape for rows in spaces(tables, [])[:2] if rows is not None]
    assert none == [(0, LAYOUT.graph), (0, LAYOUT.behaviour)]


def test_without_graph_vectors_facts_are_still_known():
    tables = fitted(settings=TableSettings(graph="none"))
    assert tables.graph_vectors is None
    assert spaces(tables, ["mug"])[0] is None
    assert tables.graph.shared("mug", "pot", 1)


def test_the_layout_is_that_of_the_spaces():
    tables = fitted(settings=TableSettings(behaviour=BehaviourSettings(dimension=9)))
    assert tables.layout.widths == (64, 64, 9, 0, 1)
    assert fit_tables(events(), ITEMS, FACTS, WHITE, TableSettings()).layout.text == 16


def test_the_digest_names_the_spaces_and_not_what_goes_on_learning():
    first, second = fitted(), fitted()
    assert first.digest == second.digest
    first.counts.observe(Lesson("jam", ["tea"], "view", START, 1, 1))
    first.graph.update("rug", [Fact("rug", "brand", "Kiln")])
    assert first.digest == second.digest
    others = [
        fit_tables(events(), ITEMS, FACTS, WHITE, TableSettings()),
        fitted(settings=TableSettings(graph="none")),
        fitted(settings=TableSettings(behaviour=BehaviourSettings(shift=1.0))),
        fitted(facts=FACTS.clear(), items=ITEMS.select("item_id", "title", brand=pl.lit("One"))),
    ]
    assert len({first.digest, *(other.digest for other in others)}) == 5


def test_equal_pasts_give_equal_tables():
    first, second = fitted(), fitted()
    assert first.counts.to_frame().equals(second.counts.to_frame())
    assert first.knn.to_frame().equals(second.knn.to_frame())
    assert first.graph.to_frame().equals(second.graph.to_frame())
    for rows, others in zip(spaces(first, ALL)[:2], spaces(second, ALL)[:2], strict=True):
        assert rows is not None
        assert others is not None
        assert rows.tobytes() == others.tobytes()


def test_the_stages_are_told_in_order():
    heard = []
    fit_tables(
        events(), ITEMS, FACTS, Whitening.identity(64), TableSettings(), lambda *told: heard.append((told[0], told[1]))
    )
    assert heard == [(stage, done) for stage in ("counts", "neighbours", "graph", "behaviour") for done in (0, 1)]


# ------------------------------------------------------------------------------------------------------- there and back
@pytest.mark.parametrize("settings", [TableSettings(), CHANGED], ids=["as shipped", "changed"])
def test_what_is_saved_is_loaded(tmp_path, settings):
    tables = fitted([*SESSIONS, "stranger tea"], settings)
    loaded = saved_and_loaded(tables, tmp_path)
    assert loaded.settings == settings
    assert (loaded.digest, loaded.layout) == (tables.digest, tables.layout)
    assert loaded.counts.to_frame().equals(tables.counts.to_frame())
    assert loaded.knn.to_frame().equals(tables.knn.to_frame())
    assert loaded.graph.to_frame().equals(tables.graph.to_frame())
    assert len(loaded.graph) == len(tables.graph)
    for item_id in [*ALL, "stranger", "never there"]:
        assert goes_with(loaded, item_id) == goes_with(tables, item_id)
        assert neighbours(loaded, item_id) == neighbours(tables, item_id)
        assert loaded.graph.facts(item_id) == tables.graph.facts(item_id)
    for item_id in ALL:
        for other in ALL:
            assert loaded.graph.shared(item_id, other, 5) == tables.graph.shared(item_id, other, 5)
            assert loaded.graph.path(item_id, other) == tables.graph.path(item_id, other)
    for rows, others in zip(spaces(tables, ALL), spaces(loaded, ALL), strict=True):
        assert (rows is None) == (others is None)
        if rows is not None and others is not None:
            assert rows.tobytes() == others.tobytes()
    words = DummyTextEncoder().encode(["blue mug"])
    assert loaded.whitening.apply(words).tobytes() == tables.whitening.apply(words).tobytes()


def test_what_was_loaded_goes_on_learning_alike(tmp_path):
    tables = fitted()
    loaded = saved_and_loaded(tables, tmp_path)
    for each in (tables, loaded):
        for visitor in (1, 2):
            each.counts.observe(Lesson("jam", ["tea", "pot"], "view", START + 900_000_000, visitor, visitor))
            each.knn.observe(Lesson("jam", ["tea", "pot"], "view", START + 900_000_000, visitor, visitor))
        each.graph.update("mug", [])
    assert loaded.counts.to_frame().equals(tables.counts.to_frame())
    assert loaded.knn.to_frame().equals(tables.knn.to_frame())
    assert loaded.graph.to_frame().equals(tables.graph.to_frame())
    assert Fact("mug", "made_for", "tea") not in loaded.graph.facts("mug")


def test_a_way_over_an_item_without_facts_is_still_there(tmp_path):
    items = pl.DataFrame({"item_id": ["tea", "mug", "pot"], "title": ["a", "b", "c"]})
    facts = pl.DataFrame(
        [("tea", "made_for", "mug"), ("pot", "made_for", "mug")], schema=["head", "relation", "tail"], orient="row"
    )
    tables = fitted([], items=items, facts=facts)
    expected = tables.graph.path("tea", "pot")
    assert expected is not None
    assert saved_and_loaded(tables, tmp_path, items).graph.path("tea", "pot") == expected


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("whitening.safetensors", EncoderError),
        ("tables.parquet", OSError),
        ("sessions.parquet", OSError),
        ("facts.parquet", OSError),
    ],
)
def test_a_file_that_is_not_there_is_an_error(tmp_path, name, error):
    tables = fitted()
    tables.save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(error):
        Tables.load(tmp_path, ITEMS, tables.settings)


# ------------------------------------------------------------------------------------------------------------- settings
@pytest.mark.parametrize("settings", [TableSettings(), CHANGED], ids=["as shipped", "changed"])
def test_settings_are_told_as_plain_values_and_back(settings):
    told = json.loads(json.dumps(settings.as_dict()))
    assert TableSettings.from_dict(told) == settings
    assert told.keys() == {field.name for field in dataclasses.fields(TableSettings)}


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"counts": {"window": 0}}, ValueError),
        ({"knn": {"no such": 1}}, TypeError),
        ({"behaviour": None}, TypeError),
    ],
)
def test_settings_that_are_none_are_refused(wrong, error):
    with pytest.raises(error):
        TableSettings.from_dict(TableSettings().as_dict() | wrong)
    with pytest.raises(KeyError):
        TableSettings.from_dict({})


# -------------------------------------------------------------------------------------------------------------- nothing
def test_empty_knows_nothing_and_leaves_texts_as_they_are():
    tables = Tables.empty(64)
    assert len(tables.vocabulary) == len(tables.knn) == len(tables.graph) == 0
    assert spaces(tables, ["tea"]) == (None, None, None)
    assert tables.layout.text == 64
    words = DummyTextEncoder().encode(["blue mug"])
    assert tables.whitening.apply(words) == pytest.approx(words)
    assert Tables.empty(64).digest == tables.digest != Tables.empty(32).digest


def test_empty_learns(tmp_path):
    tables = Tables.empty(64)
    tables.counts.observe(Lesson("mug", ["tea"], "view", START, 1, 1))
    tables.knn.observe(Lesson("tea", [], "view", START, 1, 1))
    tables.knn.observe(Lesson("mug", ["tea"], "view", START + 1, 1, 1))
    assert goes_with(tables, "tea").keys() == {"mug"}
    assert "mug" in neighbours(tables, "tea")
    nothing = pl.DataFrame(schema={"item_id": pl.String})
    loaded = saved_and_loaded(tables, tmp_path, nothing)
    assert goes_with(loaded, "tea") == goes_with(tables, "tea")
    assert spaces(loaded, ["tea"]) == (None, None, None)


def test_a_past_without_events_gives_tables_of_what_the_catalogue_says(tmp_path):
    tables = fitted([])
    graph, behaviour, _ = spaces(tables, ALL)
    assert graph is not None
    assert behaviour is not None
    assert graph.any()
    assert not behaviour.any()
    assert goes_with(tables, "tea") == {}
    assert saved_and_loaded(tables, tmp_path).digest == tables.digest

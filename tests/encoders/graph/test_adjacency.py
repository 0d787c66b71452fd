import math
import random
from itertools import pairwise

import polars as pl
import pytest

from encoders.graph.adjacency import HUB_LEAST, Graph
from encoders.graph.facts import Fact, entity


def shop():
    """40 items: all of category Home, half of Home > Kitchen; brands of four items each; one pair goes together."""
    graph = Graph()
    for number in range(40):
        graph.upsert_item(f"i{number}", f"Brand {number // 4}", "Home > Kitchen" if number % 2 else "Home")
    graph.extend([Fact("i0", "goes_with", "i39"), Fact("i39", "goes_with", "i0")], "behaviour")
    return graph


def named(links):
    return [[tuple(fact) for fact in link.facts] for link in links]


def test_shared_facts_are_cited_as_told_the_most_specific_first():
    graph = shop()
    graph.upsert_item("i1", "BRAND 0", "Home > Kitchen", {"colour": "red"})
    links = graph.shared("i1", "i3", 5)
    assert named(links) == [
        [("i1", "brand", "BRAND 0"), ("i3", "brand", "Brand 0")],
        [("i1", "category", "Home > Kitchen"), ("i3", "category", "Home > Kitchen")],
    ]
    assert [link.idf for link in links] == [pytest.approx(math.log(40 / 4)), pytest.approx(math.log(40 / 20))]
    assert graph.shared("i1", "i3", 1) == links[:1]
    assert graph.shared("i1", "i3", 0) == graph.shared("i1", "i1", 3) == graph.shared("i1", "stranger", 3) == []


def test_a_fact_between_the_two_comes_first_whichever_way_it_goes():
    graph = shop()
    graph.update("i3", [Fact("i3", "fits", "i1")])
    assert named(graph.shared("i1", "i3", 1)) == [[("i3", "fits", "i1")]]
    assert named(graph.shared("i3", "i1", 1)) == [[("i3", "fits", "i1")]]
    assert named(graph.shared("i0", "i39", 5)) == [[("i0", "goes_with", "i39")], [("i39", "goes_with", "i0")]]


def test_the_same_end_of_two_relations_is_not_shared_but_a_path():
    graph = shop()
    graph.update("i0", [Fact("i0", "made_in", "country:France")])
    graph.update("i9", [Fact("i9", "sold_in", "country:France")])
    assert graph.shared("i0", "i9", 5) == []
    assert graph.path("i0", "i9") == (Fact("i0", "made_in", "country:France"), Fact("i9", "sold_in", "country:France"))


def test_what_everything_has_explains_nothing():
    graph = shop()
    assert graph.shared("i0", "i10", 5) == []  # Home, which all have
    assert graph.path("i0", "i10", 2) is None


def test_hubs_grow_with_the_shop():
    graph = Graph()
    for number in range(HUB_LEAST + 30):
        graph.upsert_item(f"i{number}", "Big" if number < HUB_LEAST else "Small")
    assert len(graph.shared("i0", "i1", 3)) == 1
    graph.upsert_item(f"i{HUB_LEAST}", "Big")
    assert graph.shared("i0", "i1", 3) == []


def test_paths_of_one_two_and_three_facts():
    graph = shop()
    assert graph.path("i0", "i39", 1) == (Fact("i0", "goes_with", "i39"),)
    assert graph.path("i0", "i2", 1) is None
    assert graph.path("i0", "i2", 2) == (Fact("i0", "brand", "Brand 0"), Fact("i2", "brand", "Brand 0"))
    assert graph.path("i0", "i38", 2) is None
    assert graph.path("i0", "i38", 3) == (
        Fact("i0", "goes_with", "i39"),
        Fact("i39", "brand", "Brand 9"),
        Fact("i38", "brand", "Brand 9"),
    )
    assert graph.path("i38", "i0", 3)[::-1] == graph.path("i0", "i38", 3)
    assert graph.path("i0", "i0") is None
    assert graph.path("i0", "stranger") is None


@pytest.mark.parametrize("turn", [False, True])
def test_a_path_leads_over_facts_of_entities(turn):
    graph = shop()
    graph.upsert_item("pen", "Pilot", "Office")
    graph.update("brand:Pilot", [Fact("brand:Pilot", "owned_by", "brand:Brand 3")])
    expected = [
        Fact("pen", "brand", "Pilot"),
        Fact("brand:Pilot", "owned_by", "brand:Brand 3"),
        Fact("i12", "brand", "Brand 3"),
    ]
    way = graph.path("i12", "pen") if turn else graph.path("pen", "i12")
    assert list(way) == expected[:: -1 if turn else 1]
    graph.remove("brand:Pilot")
    assert graph.path("pen", "i12") is None


def test_a_head_without_relation_in_its_name_is_the_end_of_that_name():
    graph = shop()
    graph.update("i4", [Fact("i4", "made_of", "oak")])
    graph.update("i9", [Fact("i9", "made_of", "wood")])
    graph.update("oak", [Fact("oak", "kind_of", "wood")])
    assert graph.path("i4", "i9") == (
        Fact("i4", "made_of", "oak"),
        Fact("oak", "kind_of", "wood"),
        Fact("i9", "made_of", "wood"),
    )


def test_facts_of_a_source_are_replaced_and_those_of_others_stay():
    graph = shop()
    graph.update("i0", [Fact("i0", "brand", "brand:Brand 0"), Fact("i0", "scent", "rose")])
    graph.update("i9", [Fact("i9", "scent", "rose")])
    assert named(graph.shared("i0", "i9", 3)) == [[("i0", "scent", "rose"), ("i9", "scent", "rose")]]
    graph.update("i0", [Fact("i0", "scent", "lily")])
    assert graph.shared("i0", "i9", 3) == []
    assert [fact.relation for fact in graph.facts("i0")] == ["brand", "category", "scent", "goes_with"]
    graph.remove("i0")
    graph.remove("i0")
    assert [fact.relation for fact in graph.facts("i0")] == ["brand", "category", "goes_with"]


def test_a_fact_that_two_sources_tell_is_one():
    graph = shop()
    graph.update("i0", [Fact("i0", "brand", "Brand 0")])
    assert graph.facts("i0").count(Fact("i0", "brand", "Brand 0")) == 1
    assert len(graph.shared("i0", "i2", 5)) == 1


def test_no_path_leads_over_an_item_that_is_gone():
    graph = shop()
    graph.remove_item("i39")
    assert len(graph) == 39
    assert graph.path("i0", "i38") is None
    graph.upsert_item("i39", "Brand 9", "Home")
    assert len(graph.path("i0", "i38")) == 3


def test_ids_that_differ_in_capitals_are_two_items():
    graph = Graph()
    for item in ("a", "b", "x1", "X1"):
        graph.upsert_item(item)
    graph.update("a", [Fact("a", "fits", "x1")])
    graph.update("b", [Fact("b", "fits", "X1")])
    assert graph.shared("a", "b", 3) == []


def test_wrong_calls_are_refused():
    graph = shop()
    with pytest.raises(ValueError, match="expected facts of 'i0'"):
        graph.update("i0", [Fact("i1", "brand", "x")])
    with pytest.raises(ValueError, match="expected one of catalogue, knowledge, behaviour"):
        graph.update("i0", [], "rumour")  # type: ignore[arg-type]


def test_idf_of_a_fact():
    graph = shop()
    assert graph.idf(Fact("new", "brand", "brand 1")) == pytest.approx(math.log(10))
    assert graph.idf(Fact("i0", "category", "Home")) == 0


def random_facts(source, heads):
    ends = [*heads[:6], "brand:A", "brand:B", "brand:C", "oak"]
    return {
        head: [Fact(head, source.choice(["r", "s"]), source.choice(ends)) for _ in range(source.randrange(4))]
        for head in [*heads, "brand:A", "oak"]
    }


@pytest.mark.parametrize("seed", range(8))
def test_after_any_changes_it_answers_as_one_that_was_told_the_last_state_at_once(seed):
    """And every path holds: facts that stand, and that share their ends one after the other."""
    source = random.Random(seed)
    items = [f"i{number}" for number in range(30)]
    lived, fresh = Graph(), Graph()
    last, brands = {}, {}
    for _ in range(3):
        for head, facts in random_facts(source, items).items():
            lived.update(head, facts)
            last[head] = facts
        for item in source.sample(items, 20):
            brands[item] = source.choice(["P", "Q", None])
            lived.upsert_item(item, brands[item])
        for item in source.sample(items, 5):
            brands.pop(item, None)
            lived.remove_item(item)
    for item in reversed(items):
        if item in brands:
            fresh.upsert_item(item, brands[item])
    for head in sorted(last):
        fresh.update(head, last[head])
    told = set(map(tuple, lived.to_frame().select("head", "relation", "tail").iter_rows()))
    assert lived.to_frame().equals(fresh.to_frame())
    found = 0
    for one in items:
        for other in items:
            way = lived.path(one, other)
            assert way == fresh.path(one, other)
            assert lived.shared(one, other, 9) == fresh.shared(one, other, 9)
            if way:
                found += 1
                assert all(tuple(fact) in told for fact in way)
                assert one in (way[0].head, way[0].tail)
                assert other in (way[-1].head, way[-1].tail)
                for first, second in pairwise(way):
                    ends = [
                        {fact.head, fact.tail, entity("", fact.head), entity(fact.relation, fact.tail)}
                        for fact in (first, second)
                    ]
                    assert ends[0] & ends[1]
    assert found > 50


def test_a_frame_holds_every_fact_with_its_source():
    graph = Graph()
    graph.upsert_item("b", "OPI")
    graph.update("a", [Fact("a", "fits", "b")])
    expected = pl.DataFrame(
        [("a", "fits", "b", "knowledge"), ("b", "brand", "OPI", "catalogue")],
        schema=["head", "relation", "tail", "source"],
        orient="row",
    )
    assert graph.to_frame().equals(expected)


def rest_of(graph, items):
    """All that a graph answers of its items."""
    pairs = [(one, other) for one in items for other in items]
    return (
        len(graph),
        [graph.facts(item) for item in items],
        [[graph.idf(fact) for fact in graph.facts(item)] for item in items],
        [graph.shared(one, other, 9) for one, other in pairs],
        [graph.path(one, other) for one, other in pairs],
    )


def lived_in(seed):
    """Twenty items told of by all three sources, one without facts, one that left and is still spoken of."""
    source = random.Random(seed)
    items = [f"i{number}" for number in range(20)]
    graph = Graph()
    for item in [*items, "bare"]:
        graph.upsert_item(item, source.choice(["P", "Q", None]) if item != "bare" else None)
    for kind in ("knowledge", "behaviour"):
        for head, facts in random_facts(source, items).items():
            graph.update(head, facts, kind)
    graph.remove_item("i3")
    return graph, [item for item in [*items, "bare"] if item != "i3"]


@pytest.mark.parametrize("seed", range(4))
def test_read_back_from_its_frame_it_answers_the_same(seed):
    graph, items = lived_in(seed)
    again = Graph.from_frame(graph.to_frame(), pl.Series(items))
    assert rest_of(again, [*items, "i3"]) == rest_of(graph, [*items, "i3"])
    assert again.to_frame().equals(graph.to_frame())


def test_read_back_from_its_frame_it_goes_on_being_told():
    """What comes next replaces by head and source, of items and of entities, as if there had been no file between."""
    graph, items = lived_in(5)
    again = Graph.from_frame(graph.to_frame(), items)
    for its in (graph, again):
        its.update("i0", [Fact("i0", "r", "brand:A"), Fact("i0", "fits", "bare")])
        its.update("brand:A", [Fact("brand:A", "owned_by", "brand:C")])
        its.remove("i1")
        its.remove("oak")
        its.upsert_item("i2", "R")
        its.upsert_item("i3", "P")
        its.remove_item("i4")
    assert again.path("i0", "bare") == (Fact("i0", "fits", "bare"),)
    told = again.to_frame().filter(pl.col("source") == "knowledge")
    assert told.filter(pl.col("head") == "i0")["tail"].to_list() == ["brand:A", "bare"]
    assert not told["head"].is_in(["i1", "oak"]).any()
    assert rest_of(again, [*items, "i3"]) == rest_of(graph, [*items, "i3"])


def test_an_empty_frame_leaves_items_without_facts():
    graph = Graph.from_frame(Graph().to_frame(), ["a", "b"])
    assert (len(graph), graph.facts("a"), graph.path("a", "b")) == (2, [], None)


def test_a_frame_with_a_source_that_is_none_is_refused():
    frame = shop().to_frame().with_columns(source=pl.lit("rumour"))
    with pytest.raises(ValueError, match="'rumour': expected one of catalogue, knowledge, behaviour"):
        Graph.from_frame(frame, ["i0"])


def first_of_all(graph, items, item):
    """What `Around.link` promises, asked for one pair at a time."""
    found = [(link, other) for other in items for link in graph.shared(item, other, 1)]
    return max(found, key=lambda each: each[0].idf) if found else None


@pytest.mark.parametrize("seed", range(4))
def test_a_link_around_items_is_the_most_specific_that_the_pairs_share_of_equals_that_of_the_first(seed):
    graph, items = lived_in(seed)
    source = random.Random(seed)
    found = 0
    for item in [*items, "i3", "stranger"]:
        for count in (0, 1, 5):
            others = source.sample(items, count)
            link, expected = graph.around(others).link(item), first_of_all(graph, others, item)
            assert link == (expected and (expected[0].facts, expected[1]))
            found += link is not None
    assert found > 20


def test_of_facts_with_one_end_in_two_nodes_the_more_specific_counts():
    """`oak` is where all lead, whatever they say of it; `made_of oak` only those that are made of it."""
    graph = shop()
    for item, relation in (("i0", "made_of"), ("i9", "made_of"), ("i18", "like"), ("i27", "like")):
        graph.update(item, [Fact(item, relation, "oak")])
    (link,) = graph.shared("i0", "i9", 3)
    assert link.idf == pytest.approx(math.log(40 / 2))


def test_what_was_found_of_a_node_is_forgotten_as_soon_as_anything_changes():
    graph = shop()

    def linked():
        found = graph.around(["i0"]).link("i2")
        assert found == graph.around(["i0"]).link("i2")  # remembered by now
        return found and found[0][0].relation

    assert linked() == "brand"
    for number in range(4, 24):  # Brand 0 is led to by 23 then, and a hub
        graph.upsert_item(f"i{number}", "Brand 0", "Home")
    assert linked() is None
    for number in range(40, 300):  # in a shop of 300 it is none
        graph.upsert_item(f"i{number}", None, "Home")
    assert linked() == "brand"
    graph.update("i2", [Fact("i2", "goes_on", "i9")])
    graph.update("i0", [Fact("i0", "goes_on", "i9")])
    assert linked() == "goes_on"
    graph.update("i1", [Fact("i1", "goes_on", "i9")])
    graph.remove_item("i9")
    assert linked() == "goes_on"  # the shop still says so
    graph.remove("i2")
    assert linked() == "brand"


def test_words_that_facts_have_in_common_are_one_object():
    """However each was read: so a shop's half a million facts hold them once, and are compared without reading them."""
    graph = Graph()
    for item in ("i1", "i2"):
        graph.update(item, [Fact(item, "".join(["made", "_in"]), "".join(["Del", "ft"]))])
    (one,), (other,) = graph.facts("i1"), graph.facts("i2")
    assert one.relation is other.relation
    assert one.tail is other.tail


def test_what_is_remembered_has_a_bound(monkeypatch):
    monkeypatch.setattr("encoders.graph.adjacency.NEARS_KEPT", 3)
    monkeypatch.setattr("encoders.graph.adjacency.WEIGHTS_KEPT", 3)
    graph, items = lived_in(1)
    expected = rest_of(lived_in(1)[0], items)
    assert rest_of(graph, items) == expected
    assert len(graph._nears) <= 3
    assert len(graph._weights) <= 3

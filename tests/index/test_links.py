"""Items that facts join with a history: against a plain count of the facts, and as they change."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.graph.adjacency import Graph
from encoders.graph.facts import GOES_WITH, Fact
from index.links import FROM, Links, most
from index.vocabulary import Vocabulary

ITEMS = [f"i{number}" for number in range(6)]
RELATIONS = ("also_bought", "made_for", GOES_WITH)
FACTS = st.lists(
    st.builds(Fact, st.sampled_from(ITEMS), st.sampled_from(RELATIONS), st.sampled_from([*ITEMS, "blue"])), max_size=30
)


def graph_of(facts: Sequence[Fact]) -> Graph:
    graph = Graph()
    for item in ITEMS:
        graph.upsert_item(item)
    for source, chosen in (("knowledge", False), ("behaviour", True)):
        graph.extend([fact for fact in facts if (fact.relation == GOES_WITH) == chosen], source)  # type: ignore[arg-type]
    return graph


def counted(facts: Sequence[Fact], one: str, other: str) -> int:
    return sum(
        {fact.head, fact.tail} == {one, other} and fact.relation != GOES_WITH and one != other for fact in set(facts)
    )


@given(FACTS, st.lists(st.integers(0, len(ITEMS) - 1), max_size=8), st.sampled_from([0.25, 0.6, 1.0]))
@settings(max_examples=100, deadline=None)
def test_what_joins_an_item_with_a_history_are_the_facts_between_them(
    facts: list[Fact], known: list[int], fading: float
) -> None:
    linked = Links(graph_of(facts), Vocabulary(ITEMS)).around(np.array(known, np.int32), fading=fading)
    newest = [ITEMS[code] for code in known[::-1][:FROM]]
    expected = {}
    for code, item in enumerate(ITEMS):
        each = [counted(facts, item, other) for other in newest]
        if any(each):
            weights = [fading**back for back in range(len(newest))]
            expected[code] = each[0], np.dot(each, weights) / sum(weights)
    assert linked.codes.tolist() == list(expected)
    np.testing.assert_allclose(linked.last, [last for last, _ in expected.values()])
    np.testing.assert_allclose(linked.share, [share for _, share in expected.values()], rtol=1e-5)


def test_facts_that_change_are_heard_of() -> None:
    graph, items = graph_of([Fact("i0", "made_for", "i1")]), Vocabulary(ITEMS)
    links, known = Links(graph, items), items.codes(["i0"])
    assert items.ids(links.around(known, fading=0.5).codes) == ["i1"]
    graph.update("i2", [Fact("i2", "made_for", "i0")])
    assert items.ids(links.around(known, fading=0.5).codes) == ["i1", "i2"]
    graph.remove("i0")
    assert items.ids(links.around(known, fading=0.5).codes) == ["i2"]


def test_an_item_that_nobody_numbered_is_left_out() -> None:
    graph = graph_of([Fact("i0", "made_for", "i5"), Fact("i0", "made_for", "i1")])
    linked = Links(graph, Vocabulary(["i0", "i1"])).around(np.array([0], np.int32), fading=0.5)
    assert linked.codes.tolist() == [1]


def test_the_most_joined_are_those_of_the_largest_share() -> None:
    facts = [Fact("i0", relation, "i3") for relation in RELATIONS[:2]] + [
        Fact("i0", "made_for", f"i{n}") for n in (1, 2)
    ]
    linked = Links(graph_of(facts), Vocabulary(ITEMS)).around(np.array([0], np.int32), fading=0.5)
    assert sorted(most(linked, 2).tolist()) == [1, 3]
    assert most(linked, 9).tolist() == [1, 2, 3]

"""The graph in memory: what two items have in common, and by which way one leads to the other.

The evidence behind reasons: whatever it answers is made of facts as the shop told them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise, product
from sys import intern
from typing import Literal, NamedTuple, get_args

import polars as pl

from encoders.graph.facts import GOES_WITH, SEPARATOR, Fact, catalogue_facts, entity, group_by_head, named_entity

Source = Literal["catalogue", "knowledge", "behaviour"]
SOURCES: tuple[Source, ...] = get_args(Source)

HUB_SHARE = 0.1
"""An end that more than this share of the items lead to is a hub: what everything has in common explains nothing."""
HUB_LEAST = 20
"""An end with at most so many heads is no hub, so that a small shop has facts to cite."""
NEARS_KEPT = 8192
WEIGHTS_KEPT = 65_536
"""Nodes of which what was found is remembered until the next change; when there are more, all are forgotten."""

_COLUMNS = ("head", "relation", "tail", "source")
_NO_NODES: set[str] = set()
_NOTHING: dict[str, list[Fact]] = {}


class Shared(NamedTuple):
    """Why two items belong together, in facts as the shop told them."""

    facts: tuple[Fact, ...]
    """One that leads from one item to the other, or one of each that lead to the same end."""
    idf: float
    """How specific it is: log(items / heads of that end)."""


class Graph:
    """Facts by head, by source, and both ways. Answers depend on the facts alone, not on the order they came in.

    Not thread-safe. A node is an item id or another head as written, or the key of an entity (`facts.entity`).

    >>> graph = Graph()
    >>> for item in ("red", "blue", "mug"):
    ...     graph.upsert_item(item, brand="Alpine" if item != "mug" else None, category="Home")
    >>> graph.update("mug", [Fact("mug", "made_for", "blue")])
    >>> [link.facts[0].relation for link in graph.shared("red", "blue", 3)]
    ['brand']
    >>> [(fact.head, fact.relation) for fact in graph.path("mug", "red")]
    [('mug', 'made_for'), ('blue', 'brand'), ('red', 'brand')]
    """

    def __init__(self) -> None:
        self._told: dict[str, dict[Source, tuple[Fact, ...]]] = {}
        self._out: dict[str, dict[str, list[Fact]]] = {}  # head -> entity or tail -> facts that lead there
        self._in: dict[str, set[str]] = {}  # entity or tail -> heads
        self._spelled: dict[str, set[str]] = {}  # entity -> heads that name it and have facts
        self._items: set[str] = set()
        self._nears: dict[str, set[str]] = {}  # what `_near` found since the last change
        self._weights: dict[str, int] = {}  # what `_weight` found since then
        self.changes = 0
        """Grows whenever a fact comes or goes."""

    # ---------------------------------------------------------------------------------------------- what is brought in
    def upsert_item(
        self,
        item_id: str,
        brand: str | None = None,
        category: str | None = None,
        attributes: Mapping[str, object] | None = None,
    ) -> None:
        """An item as the catalogue now has it. What other sources say of it stays."""
        self._items.add(item_id)
        self._forget()
        self.update(item_id, catalogue_facts(item_id, brand, category, attributes), "catalogue")

    def remove_item(self, item_id: str) -> None:
        """An item that left the catalogue: no way leads over it. What other sources say of it waits for its return."""
        self._items.discard(item_id)
        self._forget()
        self.remove(item_id, "catalogue")

    def update(self, head: str, facts: Iterable[Fact], source: Source = "knowledge") -> None:
        """All facts of one head from one source, in place of those before.

        Raises:
            ValueError: a fact has another head, or there is no such source.
        """
        # Words that many facts have in common are one object each: two facts are compared without reading them.
        told = tuple(dict.fromkeys(Fact(whose, intern(relation), intern(tail)) for whose, relation, tail in facts))
        if wrong := [fact for fact in told if fact.head != head]:
            raise ValueError(f"{wrong[0]}: expected facts of {head!r}")
        if source not in SOURCES:
            raise ValueError(f"source {source!r}: expected one of {', '.join(SOURCES)}")
        by_source = self._told.setdefault(head, {})
        if by_source.pop(source, ()) == told:  # also where there were none and are none
            if told:
                by_source[source] = told
            elif not by_source:
                del self._told[head]
            return
        if told:
            by_source[source] = told
        self._rewire(head, by_source)

    def remove(self, head: str, source: Source = "knowledge") -> None:
        """No facts of this head from this source any more."""
        self.update(head, (), source)

    def extend(self, facts: Iterable[Fact], source: Source) -> None:
        """Many facts at once; of each head that is named, all from this source."""
        for head, its in group_by_head(facts).items():
            self.update(head, its, source)

    # -------------------------------------------------------------------------------------------------- what is known
    def __len__(self) -> int:
        """Items of the catalogue."""
        return len(self._items)

    def facts(self, head: str) -> list[Fact]:
        """What is known of a head: catalogue, knowledge, behaviour, each in its order; a fact stands once."""
        told = self._told.get(head, {})
        return list(dict.fromkeys(fact for source in SOURCES for fact in told.get(source, ())))

    def others(self) -> list[Fact]:
        """What is known of heads that are no items, such as categories; by head."""
        return [fact for head in sorted(self._told.keys() - self._items) for fact in self.facts(head)]

    def idf(self, fact: Fact) -> float:
        """How specific the end of a fact is: log(items / heads that lead there), at least 0."""
        return self._idf_of(len(self._in.get(entity(fact.relation, fact.tail), ())))

    def shared(self, a: str, b: str, n: int) -> list[Shared]:
        """At most n reasons why a and b belong together: facts from one to the other first, then facts of the same
        relation and end, most specific first, ties by facts; no hubs. Empty for an item and itself."""
        if n < 1 or a == b:
            return []
        both: dict[tuple[Fact, Fact], int] = {}
        from_a, from_b = self._out.get(a, _NOTHING), self._out.get(b, _NOTHING)
        for node in from_a.keys() & from_b.keys():
            if heads := self._weight(node):
                for pair in product(from_a[node], from_b[node]):
                    if self._same(*pair):
                        both[pair] = min(heads, both.get(pair, heads))  # of two nodes for one end the more specific
        found = [Shared((fact,), self._idf_of(1)) for fact in self._direct(a, b)]
        found += (
            Shared(facts, self._idf_of(heads))
            for facts, heads in sorted(both.items(), key=lambda link: (link[1], link[0]))
        )
        return found[:n]

    def joined(self, item: str) -> dict[str, int]:
        """The items that facts of the shop's join with this one, and how many facts, in either direction; by id. What
        behaviour showed is not counted."""
        joined: dict[str, int] = {}
        for other in self._out.get(item, _NOTHING).keys() | self._in.get(item, _NO_NODES):
            if SEPARATOR not in other and other in self._items and other != item:
                count = sum(fact.relation != GOES_WITH for fact in self._direct(item, other))
                if count:
                    joined[other] = count
        return dict(sorted(joined.items()))

    def around(self, items: Sequence[str]) -> Around:
        """The same for one item after the other, with all of some items at once."""
        return Around(self, items)

    def path(self, a: str, b: str, hops: int = 3) -> tuple[Fact, ...] | None:
        """The shortest way from a to b, at most `hops` (1 to 3) facts long: consecutive facts share an end.

        It leads over items of the catalogue and entities, in either direction of a fact, never over a hub. Of equally
        short ways the most specific one, ties by name. None: there is none, or a is b.
        """
        if a == b:
            return None
        if direct := self._direct(a, b):
            return (direct[0],)
        from_a, from_b = self._near(a), self._near(b)
        ways: set[tuple[str, ...]] = set()
        if hops >= 2:
            ways = {(node,) for node in from_a & from_b}
        if hops >= 3 and not ways:
            ways = {(one, other) for one in from_a for other in self._near_among(one, from_b)}
            ways |= {(one, other) for other in from_b & self._spelled.keys() for one in self._near_among(other, from_a)}
        if not ways:
            return None
        over = min(ways, key=lambda way: (sum(len(self._in.get(node, ())) for node in way), way))
        return tuple(self._between(one, other) for one, other in pairwise((a, *over, b)))

    def to_frame(self) -> pl.DataFrame:
        """Every fact with its source: head, relation, tail, source; by head and source. Whether a head is an item is
        not said: items without facts are not in it, so `from_frame` asks for the items beside it."""
        rows = [
            (*fact, source)
            for head in sorted(self._told)
            for source in SOURCES
            for fact in self._told[head].get(source, ())
        ]
        return pl.DataFrame(rows, schema=dict.fromkeys(_COLUMNS, pl.String), orient="row")

    @classmethod
    def from_frame(cls, frame: pl.DataFrame, item_ids: Iterable[str]) -> Graph:
        """The graph that gave `to_frame`: it answers as that one did, and goes on being told as that one would.

        Args:
            frame: head, relation, tail, source; of each head and source in the order in which they were told.
            item_ids: of the catalogue, those without facts too. Without its items a graph finds fewer paths: none
                leads over an item that is not known to be there.

        Raises:
            ValueError: there is no such source.
            polars.exceptions.PolarsError: a column is not there.
        """
        graph = cls()
        graph._items.update(item_ids)
        told: dict[Source, list[Fact]] = {}
        for *fact, source in frame.select(_COLUMNS).iter_rows():
            told.setdefault(source, []).append(Fact(*fact))
        for source, facts in told.items():
            graph.extend(facts, source)
        return graph

    def _rewire(self, head: str, by_source: dict[Source, tuple[Fact, ...]]) -> None:
        self._forget()
        self.changes += 1
        for node in self._out.pop(head, ()):
            leading = self._in[node]
            leading.discard(head)
            if not leading:
                del self._in[node]
        name = named_entity(head)
        if not by_source:
            del self._told[head]
            if name is not None and name in self._spelled:
                self._spelled[name].discard(head)
                if not self._spelled[name]:
                    del self._spelled[name]
            return
        out: dict[str, list[Fact]] = {}
        for source in SOURCES:
            for fact in by_source.get(source, ()):
                if source != "behaviour":  # goes from item to item
                    _put(out, intern(entity(fact.relation, fact.tail)), fact)  # most are the ends of many
                if source != "catalogue":  # its brands and categories are no items, whatever they are called
                    _put(out, fact.tail, fact)
        self._out[head] = out
        for node in out:
            self._in.setdefault(node, set()).add(head)
        if name is not None:
            self._spelled.setdefault(name, set()).add(head)

    def _direct(self, a: str, b: str) -> list[Fact]:
        """Facts between two items, those of a first."""
        there, back = self._out.get(a, _NOTHING).get(b), self._out.get(b, _NOTHING).get(a)
        return (sorted(there) if there else []) + (sorted(back) if back else [])

    def _between(self, one: str, other: str) -> Fact:
        """The fact that joins two neighbouring nodes; of several the first by name."""
        return min(
            fact
            for start, end in ((one, other), (other, one))
            for head in (start, *self._spelled.get(start, ()))
            for fact in self._out.get(head, _NOTHING).get(end, ())
        )

    def _same(self, one: Fact, other: Fact) -> bool:
        """Whether two facts that lead to one node say the same: ids that differ in capitals only are two items."""
        if one.tail == other.tail and one.relation == other.relation:
            return True
        return one.relation.casefold() == other.relation.casefold() and not (
            one.tail in self._items or other.tail in self._items
        )

    @property
    def _hub(self) -> float:
        """More heads than this make a hub; what all have is one in any shop."""
        size = self._population
        return min(max(HUB_LEAST, HUB_SHARE * size), size - 1)

    @property
    def _population(self) -> int:
        return max(len(self._items), len(self._out))

    def _idf_of(self, heads: int) -> float:
        return math.log(max(self._population / max(heads, 1), 1.0))

    def _is_way(self, node: str) -> bool:
        """Whether a path may lead over it: not over an item that visitors' behaviour alone still knows."""
        return (
            SEPARATOR in node
            or node in self._items
            or "knowledge" in self._told.get(node, ())
            or any(
                fact.tail == node for head in self._in.get(node, ()) for fact in self._told[head].get("knowledge", ())
            )
        )

    def _near(self, head: str) -> set[str]:
        """The nodes that share a fact with a head and that a path may lead over."""
        near = self._nears.get(head)
        if near is None:
            both = self._in.get(head, _NO_NODES).union(self._out.get(head, ()))
            hub, heads = self._hub, self._in
            near = {node for node in both if len(heads.get(node, ())) <= hub and self._is_way(node)}
            if len(self._nears) >= NEARS_KEPT:
                self._nears.clear()
            self._nears[head] = near
        return near

    def _weight(self, node: str) -> int:
        """How many heads lead to a node; 0: it is a hub, or a way may not lead over it."""
        weight = self._weights.get(node)
        if weight is None:
            heads = len(self._in[node])
            weight = heads if heads <= self._hub and self._is_way(node) else 0
            if len(self._weights) >= WEIGHTS_KEPT:
                self._weights.clear()
            self._weights[node] = weight
        return weight

    def _forget(self) -> None:
        """Something changed: what is a hub, what is an item, who leads where."""
        self._nears.clear()
        self._weights.clear()

    def _near_among(self, node: str, nodes: set[str]) -> set[str]:
        """Those of `nodes` that share a fact with this one, which is a head or an entity."""
        near = _NO_NODES
        for others in (
            self._in.get(node),
            self._out.get(node),
            *(self._out[head] for head in self._spelled.get(node, ())),
        ):
            if others and not nodes.isdisjoint(others):  # most have nothing in common, which is cheap to see
                near = near | nodes.intersection(others)
        return near


class Around:
    """Some items, and what others have in common with them. Good until the graph's next change.

    >>> graph = Graph()
    >>> for item in ("red", "blue", "mug", "pot"):
    ...     graph.upsert_item(item, brand="Alpine" if item in ("red", "blue") else None, category="Home")
    >>> facts, other = graph.around(["mug", "blue"]).link("red")
    >>> other, [(fact.head, fact.relation) for fact in facts]
    ('blue', [('red', 'brand'), ('blue', 'brand')])
    """

    def __init__(self, graph: Graph, items: Sequence[str]) -> None:
        self._graph, self._items = graph, items
        self._outs = [graph._out.get(item, _NOTHING) for item in items]
        self._first: dict[str, int] = {}
        """Where the items lead: node -> place of the first that leads there."""
        for place in range(len(items) - 1, -1, -1):
            self._first.update(dict.fromkeys(self._outs[place], place))

    def link(self, item: str) -> tuple[tuple[Fact, ...], str] | None:
        """The facts that `Graph.shared` puts first of an item and one of these, and that one: the most specific there
        are, of equals those of the item which stands first. None: there are none."""
        graph, first = self._graph, self._first
        out = graph._out.get(item, _NOTHING)
        if item in first or not out.keys().isdisjoint(self._items):
            for other, its in zip(self._items, self._outs, strict=True):
                if (other in out or item in its) and other != item:
                    return (graph._direct(item, other)[0],), other
        ways = [(heads, node) for node in out if node in first and (heads := graph._weight(node))]
        best: tuple[int, int, tuple[Fact, Fact]] | None = None
        for heads, node in sorted(ways):
            if best is not None and heads > best[0]:
                break
            found = self._at(node, item, out[node])
            if found is not None and (best is None or (heads, *found) < best):
                best = heads, *found
        return None if best is None else (best[2], self._items[best[1]])

    def _at(self, node: str, item: str, facts: list[Fact]) -> tuple[int, tuple[Fact, Fact]] | None:
        """The first of the items, by place, that says the same of a node as facts of another item do, and the facts."""
        for place in range(self._first[node], len(self._items)):
            there = self._outs[place].get(node)
            if there is None or self._items[place] == item:
                continue
            same = [(one, other) for one in facts for other in there if self._graph._same(one, other)]
            if same:
                return place, min(same)
        return None


def _put(out: dict[str, list[Fact]], node: str, fact: Fact) -> None:
    facts = out.setdefault(node, [])
    if fact not in facts:
        facts.append(fact)

"""What a shop's log and facts say of texts that belong together: pairs to learn from, of the training window alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from encoders.graph.facts import GOES_WITH, RELATIONS_UNSAFE, Fact, label, relation_words

Kind = Literal["next", "query", "fact"]

TIMELESS = -1
"""Time of a pair that no visitor made."""


class Pair(NamedTuple):
    """Two texts whose vectors are to be near."""

    anchor: str
    positive: str
    kind: Kind
    time: int
    """ms since the epoch of the later of the two; `TIMELESS`: of facts."""


def next_item_pairs(events: pl.DataFrame, texts: Mapping[str, str]) -> list[Pair]:
    """An item and the next one of the same session, in time order; another item with another text.

    Args:
        events: session_id, item_id, time; of the training window, in time order.
        texts: by item id; events on items without a text are passed over.
    """
    known = events.filter(pl.col("item_id").is_in(list(texts)))
    follows = known.with_columns(
        before=pl.col("item_id").shift(1).over("session_id"),
    ).filter(pl.col("before").is_not_null(), pl.col("before") != pl.col("item_id"))
    rows = follows.select("before", "item_id", "time").iter_rows()
    pairs = (Pair(texts[before], texts[after], "next", time) for before, after, time in rows)
    return [pair for pair in pairs if pair.anchor != pair.positive]


def query_pairs(events: pl.DataFrame, texts: Mapping[str, str]) -> list[Pair]:
    """The words of a search and the item that its visitor went to next.

    Args:
        events: kind, session_id, item_id, query, time; of the training window, in time order. Without `query`: none.
        texts: by item id.
    """
    if "query" not in events.columns:
        return []
    asked = events.with_columns(
        words=pl.when(pl.col("kind") == "search").then("query").shift(1).over("session_id"),
    ).filter(pl.col("words").is_not_null(), pl.col("item_id").is_in(list(texts)))
    rows = asked.select("words", "item_id", "time").iter_rows()
    return [Pair(" ".join(words.split()), texts[item], "query", time) for words, item, time in rows if words.strip()]


def fact_pairs(facts: Mapping[str, Iterable[Fact]], texts: Mapping[str, str]) -> list[Pair]:
    """A title and what a fact says of it in words; facts that visitors' behaviour told, of whatever time, say nothing
    here, and neither do words that the text has already.

    >>> fact_pairs({"i1": [Fact("i1", "brand", "OPI"), Fact("i1", "made_in", "Japan")]}, {"i1": "OPI red lacquer"})
    [Pair(anchor='OPI red lacquer', positive='made in Japan', kind='fact', time=-1)]
    """
    pairs = []
    for item, its in facts.items():
        text = texts.get(item, "")
        for fact in its if text else ():
            said = texts.get(fact.tail) or label(fact.tail)
            relation = fact.relation.casefold()
            if relation not in RELATIONS_UNSAFE and relation != GOES_WITH and said.casefold() not in text.casefold():
                pairs.append(Pair(text, f"{relation_words(fact.relation)} {said}", "fact", TIMELESS))
    return list(dict.fromkeys(pairs))


def sampled(pairs: Sequence[Pair], count: int, seed: int = 0) -> list[Pair]:
    """At most so many, drawn without replacement by a seed; in the order that they have."""
    if len(pairs) <= count:
        return list(pairs)
    return [pairs[place] for place in np.sort(np.random.default_rng(seed).permutation(len(pairs))[:count])]


def digest_of(texts: Mapping[str, str], pairs: Iterable[Pair]) -> str:
    """16 hex characters of texts and pairs, their order included."""
    content = hashlib.sha256()
    for row in (*texts.items(), *pairs):
        content.update("\x1f".join(map(str, row)).encode("utf-8", "replace") + b"\x1e")
    return content.hexdigest()[:16]

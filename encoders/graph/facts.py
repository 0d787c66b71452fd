"""Facts: what is known of items and of what they have in common, as (head, relation, tail).

An end that is an item's id is that item. Any other end is an entity: a brand, a category, a colour. Its name is
`relation:tail` of the facts that lead to it (`brand:OPI`), so that the brand Orange and the colour orange are two.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import accumulate
from types import MappingProxyType
from typing import Literal, NamedTuple

import polars as pl

Relations = Literal["safe", "all"]
Language = Literal["en", "zh"]

RELATIONS_UNSAFE = frozenset({"also_bought", "also_viewed", "bought_together"})
"""Relations that a crawl took from visitors' behaviour: they may know what came after the training window."""

GOES_WITH = "goes_with"
"""What the training window's visitors showed of two items."""

RELATION_WORDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "brand": ("brand", "品牌"),
        "category": ("category", "类别"),
        "subcategory_of": ("part of", "属于"),
        GOES_WITH: ("goes with", "常与之搭配"),
        "also_bought": ("bought along with", "一起购买"),
        "also_viewed": ("viewed along with", "一起浏览"),
        "bought_together": ("bought together with", "一同购买"),
    }
)
"""Relations in English and Chinese, for sentences; of others the name itself is said."""

NOTHING = frozenset({"", "-", "n/a", "na", "nan", "none", "null", "other", "unbranded", "unknown"})
"""Values that say that nothing is known; two items of unknown brand share no brand."""

YES = "yes"
"""Tail of a fact that an item is what the relation says."""

LONGEST_VALUE = 120
"""Characters of an attribute that can be a fact; what is longer is a description."""

SEPARATOR = "\x1f"
"""Between relation and tail of an entity's key; no item id has a control character."""

_NAMED = re.compile(r"([A-Za-z][A-Za-z_]*):(?! *$)(.+)", re.DOTALL)
"""An end that says of what relation it is: `brand:OPI`."""


class Fact(NamedTuple):
    """One edge of the graph, as the shop told it."""

    head: str
    relation: str
    tail: str


def catalogue_facts(
    item_id: str,
    brand: str | None = None,
    category: str | None = None,
    attributes: Mapping[str, object] | None = None,
) -> list[Fact]:
    """What the catalogue says of an item: its brand, every level of its category path, its attributes.

    A value that says nothing (`NOTHING`), False, or what is no text and no number is no fact.

    >>> [(fact.relation, fact.tail) for fact in catalogue_facts("i1", "Alpine", "Food > Milk", {"bio": True})]
    [('brand', 'Alpine'), ('category', 'Food'), ('category', 'Food > Milk'), ('bio', 'yes')]
    """
    facts = [Fact(item_id, "brand", brand.strip())] if brand and _says(brand) else []
    levels = [level.strip() for level in (category or "").split(">") if _says(level)]
    facts += (Fact(item_id, "category", path) for path in accumulate(levels, lambda path, leaf: f"{path} > {leaf}"))
    for name, value in (attributes or {}).items():
        said = _value(value)
        if _says(said) and _says(name) and len(said) <= LONGEST_VALUE:
            facts.append(Fact(item_id, name.strip(), said))
    return facts


def table_facts(facts: pl.DataFrame, relations: Relations = "safe") -> list[Fact]:
    """The rows of a table with head, relation, tail, once each, in their order.

    Args:
        relations: "safe" leaves `RELATIONS_UNSAFE` out, however they are spelled.
    """
    rows = map(Fact._make, facts.select("head", "relation", "tail").iter_rows())
    return list(dict.fromkeys(fact for fact in rows if relations == "all" or is_safe(fact.relation)))


def behaviour_facts(pairs: pl.DataFrame, *, visitors: int = 2, most: int = 10) -> list[Fact]:
    """Of each item the items that it goes with, as at least so many visitors have shown.

    Args:
        pairs: of the training window: before, after (item ids), weight (any measure of how well they go together),
            visitors (distinct ones that made the pair).
        visitors: fewer are no fact: one visitor's pair would show that visitor to others.
        most: facts of an item; those of largest weight, ties by item id.

    Returns:
        (before, `GOES_WITH`, after), by item, best first.
    """
    chosen = (
        pairs.filter((pl.col("visitors") >= visitors) & (pl.col("before") != pl.col("after")))
        .sort("before", "weight", "after", descending=[False, True, False])
        .group_by("before", maintain_order=True)
        .head(most)
    )
    return [Fact(before, GOES_WITH, after) for before, after in chosen.select("before", "after").iter_rows()]


def is_safe(relation: str) -> bool:
    """Whether a relation is known from elsewhere than visitors' behaviour of an unknown time.

    >>> is_safe("brand"), is_safe("Also-Bought")
    (True, False)
    """
    return re.sub(r"[\s-]+", "_", relation.strip().casefold()) not in RELATIONS_UNSAFE


@lru_cache(16_384)  # most ends are the ends of many
def entity(relation: str, tail: str) -> str:
    """The key of the entity that a fact leads to. It has a control character, which no item id has; spelling in
    capitals and spaces make no difference.

    >>> entity("brand", "OPI") == entity("brand", "brand:opi") == named_entity("brand:Opi")
    True
    >>> entity("brand", "Orange") == entity("colour", "Orange")
    False
    """
    named = _NAMED.fullmatch(tail)
    return _key(named[1], named[2]) if named else _key(relation, tail)


def named_entity(name: str) -> str | None:
    """The key of the entity of this full name, `relation:tail`; None where the name has no such form."""
    named = _NAMED.fullmatch(name)
    return _key(named[1], named[2]) if named else None


def label(tail: str) -> str:
    """An entity as a person would say it: without its relation, of a path the leaf.

    >>> label("brand:OPI"), label("category:Beauty > Nails"), label("3.5 %")
    ('OPI', 'Nails', '3.5 %')
    """
    named = _NAMED.fullmatch(tail)
    return (named[2] if named else tail).rsplit(" > ", 1)[-1].strip()


def relation_words(relation: str, language: Language = "en") -> str:
    """A relation as a person would say it.

    >>> relation_words("brand", "zh"), relation_words("made_in"), relation_words("颜色", "zh")
    ('品牌', 'made in', '颜色')
    """
    english, chinese = RELATION_WORDS.get(relation.casefold(), (relation.replace("_", " "),) * 2)
    return chinese if language == "zh" else english


def group_by_head(facts: Iterable[Fact]) -> dict[str, list[Fact]]:
    """Facts by head, in their order."""
    heads: dict[str, list[Fact]] = {}
    for fact in facts:
        heads.setdefault(fact.head, []).append(fact)
    return heads


def _key(relation: str, tail: str) -> str:
    return f"{_folded(relation)}{SEPARATOR}{' > '.join(map(_folded, tail.split(' > ')))}"


def _folded(words: str) -> str:
    return " ".join(words.split()).casefold()


def _says(value: str) -> bool:
    return value.strip().casefold() not in NOTHING


def _value(value: object) -> str:
    """An attribute in words; empty where it is no fact."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return YES if value else ""
    return f"{value:.12g}" if isinstance(value, int | float) else ""

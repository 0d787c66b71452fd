"""Reasons in words, in English and in Chinese. A sentence claims what its code means and no more."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

Saying: TypeAlias = Literal["near", "together", "neighbours", "fact", "path", "link", "popular", "cold"]
"""What can be said: the codes of reasons, and `link`, a path of one fact. What the catalogue has just changed is put
into words by `streaming.changes`."""

TITLE_CHARS = 60
SENTENCES_KEPT = 8192
"""Sentences that are remembered, least recently used dropped first: the offers of one prediction share many."""

_DID = {
    "view": ("which you viewed", "您浏览过的"),
    "click": ("which you looked at", "您点过的"),
    "search": ("which you searched for", "您搜索过的"),
    "cart_add": ("which you put in your cart", "您加入购物车的"),
    "purchase": ("which you bought", "您购买的"),
}
_SAID: dict[Saying, tuple[str, str]] = {
    "near": ("Close to {thing}.", "与{thing}相近。"),
    "together": ("Others chose it along with {thing}.", "其他顾客把它与{thing}一起选购。"),
    "neighbours": (
        "Visitors with choices like yours chose it along with {thing}.",
        "与您选择相似的顾客把它与{thing}一起选购。",
    ),
    "fact": ("In common with {thing}: {fact}.", "它与{thing}有共同点：{fact}。"),
    "path": ("Linked through {through} to {thing}.", "它通过{through}与{thing}相关联。"),
    "link": ("Linked to {thing}: {relation}.", "它与{thing}直接相关联：{relation}。"),
    "cold": (
        "Close to {like}, which others chose along with {thing}.",
        "与“{like}”相近；其他顾客把后者与{thing}一起选购。",
    ),
    "popular": ("Popular with visitors of this shop.", "本店顾客普遍喜爱。"),
}


class Thing(NamedTuple):
    """What the visitor met, and what they did with it."""

    title: str | None
    """None: nothing is known of it."""
    kind: str
    quoted: bool = False
    """The visitor's own words."""


class Wording(NamedTuple):
    """The same in both languages."""

    en: str
    zh: str


def say(saying: Saying, thing: Thing | None = None, **words: str | Wording) -> Wording:
    """The sentence of a reason.

    Args:
        words: what the sentence names besides; a text is the same in both languages.

    >>> say("near", Thing("Mug", "view"))
    Wording(en='Close to Mug, which you viewed.', zh='与您浏览过的“Mug”相近。')
    """
    return _said(saying, thing, tuple(words.items()))


@lru_cache(maxsize=SENTENCES_KEPT)
def _said(saying: Saying, thing: Thing | None, words: tuple[tuple[str, str | Wording], ...]) -> Wording:
    en: dict[str, str] = {}
    zh: dict[str, str] = {}
    for name, word in words:
        in_en, in_zh = word if isinstance(word, Wording) else (word, word)
        en[name], zh[name] = shortened(in_en), shortened(in_zh)
    if thing is not None:
        en["thing"], zh["thing"] = _named(thing)
    english, chinese = _SAID[saying]
    return Wording(english.format_map(en), chinese.format_map(zh))


def shortened(title: str) -> str:
    """At most TITLE_CHARS, cut at a word.

    >>> shortened("Mug")
    'Mug'
    """
    words = " ".join(title.split())
    if len(words) <= TITLE_CHARS:
        return words
    return words[: TITLE_CHARS - 1].rsplit(" ", 1)[0].rstrip(" ,;:-") + "…"


@lru_cache(maxsize=SENTENCES_KEPT)
def _named(thing: Thing) -> Wording:
    did, zh_did = _DID[thing.kind]
    if thing.title is None:
        return Wording(f"an item {did}", f"{zh_did}商品")
    title = shortened(thing.title)
    return Wording(f"“{title}”, {did}" if thing.quoted else f"{title}, {did}", f"{zh_did}“{title}”")

"""Reasons in words: every one in both languages, none that says more than it knows."""

from __future__ import annotations

import re
from typing import get_args, get_type_hints

import pytest

from streaming.records import Reason
from streaming.sentences import TITLE_CHARS, Saying, Thing, Wording, say, shortened
from streaming.sessions import INTEREST_KINDS

MUG = Thing("Blue mug", "view")
WORDS: dict[str, dict[str, str | Wording]] = {
    "fact": {"fact": Wording("brand Kiln", "品牌 Kiln")},
    "path": {"through": "Kiln, Tea pot"},
    "link": {"relation": Wording("made for", "适用于")},
    "cold": {"like": "Red mug"},
}
"""What a sentence names besides the thing."""


def said(saying: Saying) -> Wording:
    return say(saying, None if saying == "popular" else MUG, **WORDS.get(saying, {}))


@pytest.mark.parametrize(
    ("saying", "english", "chinese"),
    [
        ("near", "Close to Blue mug, which you viewed.", "与您浏览过的“Blue mug”相近。"),
        (
            "together",
            "Others chose it along with Blue mug, which you viewed.",
            "其他顾客把它与您浏览过的“Blue mug”一起选购。",
        ),
        (
            "neighbours",
            "Visitors with choices like yours chose it along with Blue mug, which you viewed.",
            "与您选择相似的顾客把它与您浏览过的“Blue mug”一起选购。",
        ),
        (
            "fact",
            "In common with Blue mug, which you viewed: brand Kiln.",
            "它与您浏览过的“Blue mug”有共同点：品牌 Kiln。",
        ),
        (
            "path",
            "Linked through Kiln, Tea pot to Blue mug, which you viewed.",
            "它通过Kiln, Tea pot与您浏览过的“Blue mug”相关联。",
        ),
        (
            "link",
            "Linked to Blue mug, which you viewed: made for.",
            "它与您浏览过的“Blue mug”直接相关联：适用于。",
        ),
        (
            "cold",
            "Close to Red mug, which others chose along with Blue mug, which you viewed.",
            "与“Red mug”相近；其他顾客把后者与您浏览过的“Blue mug”一起选购。",
        ),
        ("popular", "Popular with visitors of this shop.", "本店顾客普遍喜爱。"),
    ],
)
def test_every_reason_is_said_in_english_and_in_chinese(saying: Saying, english: str, chinese: str) -> None:
    assert said(saying) == (english, chinese)


def test_every_code_of_the_wire_has_its_words() -> None:
    of_the_catalogue = {"price_drop", "back_in_stock"}  # in `streaming.changes`, with the prices
    codes = set(get_args(get_type_hints(Reason)["code"]))
    assert set(get_args(Saying)) - {"link"} == codes - of_the_catalogue
    for saying in get_args(Saying):
        assert all(said(saying))


@pytest.mark.parametrize("saying", get_args(Saying))
def test_no_sentence_claims_more_than_is_known(saying: Saying) -> None:
    """Pairs are counted in either order, what is hardly known need not be new, and what is near is near, no more."""
    english, chinese = said(saying)
    assert not re.search(r"\b(after|before|then|next|new|much|very|best|most|everyone|always|will)\b", english.lower())
    assert not re.search("之后|然后|新品|十分|非常|最|所有", chinese)
    assert re.fullmatch(r"[A-Z][^{}]*\.", english)
    assert re.fullmatch(r"[^{}.]*。", chinese)


@pytest.mark.parametrize(
    ("kind", "english", "chinese"),
    [
        ("view", "Mug, which you viewed", "您浏览过的“Mug”"),
        ("click", "Mug, which you looked at", "您点过的“Mug”"),
        ("cart_add", "Mug, which you put in your cart", "您加入购物车的“Mug”"),
        ("purchase", "Mug, which you bought", "您购买的“Mug”"),
    ],
)
def test_each_kind_has_its_verb(kind: str, english: str, chinese: str) -> None:
    assert say("near", Thing("Mug", kind)) == (f"Close to {english}.", f"与{chinese}相近。")


def test_every_kind_that_enters_a_history_has_a_verb() -> None:
    for kind in INTEREST_KINDS:
        assert say("near", Thing("Mug", kind)).en.count("which you") == 1


def test_the_visitors_own_words_are_quoted() -> None:
    assert say("near", Thing("red hat", "search", quoted=True)) == (
        "Close to “red hat”, which you searched for.",
        "与您搜索过的“red hat”相近。",
    )


def test_what_has_no_name_is_not_given_one() -> None:
    assert say("together", Thing(None, "view")) == (
        "Others chose it along with an item which you viewed.",
        "其他顾客把它与您浏览过的商品一起选购。",
    )


# ---------------------------------------------------------------------------------------------------------- cut titles
@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Mug", "Mug"),
        ("  Blue \n  mug ", "Blue mug"),
        ("x" * TITLE_CHARS, "x" * TITLE_CHARS),
        ("x" * (TITLE_CHARS + 1), "x" * (TITLE_CHARS - 1) + "…"),
        ("stoneware " * 20, " ".join(["stoneware"] * 5) + "…"),
        ("Mug, blue, with a handle, and with a saucer of the same colour -- dishwasher", None),
        ("蓝色马克杯" * 20, ("蓝色马克杯" * 20)[: TITLE_CHARS - 1] + "…"),
    ],
)
def test_a_long_title_is_cut_at_a_word(title: str, expected: str | None) -> None:
    found = shortened(title)
    assert len(found) <= TITLE_CHARS
    if expected is None:  # what stands before the cut is no comma or dash
        assert found == "Mug, blue, with a handle, and with a saucer of the same…"
    else:
        assert found == expected


@pytest.mark.parametrize("saying", get_args(Saying))
def test_whatever_is_named_is_cut_and_braces_are_only_braces(saying: Saying) -> None:
    long = "{thing} " + "word " * 40
    named = dict.fromkeys(WORDS.get(saying, {}), long)
    found = say(saying, None if saying == "popular" else Thing(long, "view"), **named)
    for sentence in found:
        assert len(sentence) < 3 * TITLE_CHARS
        assert sentence.count("{thing} word") == len(named) + (saying != "popular")

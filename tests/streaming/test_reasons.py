"""Why an item is offered: each reason where it holds, and none where it does not."""

from __future__ import annotations

import polars as pl
import pytest

from streaming.reasons import NEAR, POPULAR
from streaming.records import Item, Reason
from streaming.reranking import PARTS
from tests.index.small_tables import FACTS
from tests.stories.small_shop import stocked
from tests.streaming import small_past
from tests.streaming.reasoned import code, offer, reason, steps
from tests.streaming.small_past import COLD, told


# ---------------------------------------------------------------------------------------------------------------- near
def test_near_names_the_nearest_thing_of_the_session() -> None:
    shop = stocked()
    history = steps(("view", "mug-1"), ("cart_add", "hat-1"))
    assert reason(shop, offer(shop, "mug-2", text=0.5, prior=0.01), history) == Reason(
        code="near",
        sentence="Close to stoneware coffee mug, which you viewed.",
        sentence_zh="与您浏览过的“stoneware coffee mug”相近。",
        items=["mug-1"],
    )


def test_each_kind_has_its_verb() -> None:
    shop, sentences = stocked(), {}
    for kind in ("view", "click", "cart_add", "purchase"):
        found = reason(shop, offer(shop, "mug-2", text=0.5), steps((kind, "mug-1")))
        assert found is not None
        sentences[kind] = found.sentence.partition(", ")[2]
    assert sentences == {
        "view": "which you viewed.",
        "click": "which you looked at.",
        "cart_add": "which you put in your cart.",
        "purchase": "which you bought.",
    }


def test_a_query_can_be_the_nearest() -> None:
    shop = stocked()
    found = reason(shop, offer(shop, "mug-2", text=0.5), steps(("view", "hat-1"), ("search", "stoneware mug")))
    assert found is not None
    assert (found.sentence, found.items) == ("Close to “stoneware mug”, which you searched for.", [])


def test_an_item_that_the_catalogue_does_not_have_is_named_as_the_event_named_it() -> None:
    shop = stocked()
    shop.met(told("new", "stoneware tea bowl"))
    found = reason(shop, offer(shop, "mug-2", text=0.5), steps(("view", "new")))
    assert found is not None
    assert (found.sentence, found.items) == ("Close to stoneware tea bowl, which you viewed.", ["new"])


def test_of_equally_near_things_the_newest_is_named() -> None:
    shop = stocked(titles={"a": "same words", "b": "same words", "c": "same words"})
    found = reason(shop, offer(shop, "c", text=0.5), steps(("view", "a"), ("click", "b")))
    assert found is not None
    assert found.items == ["b"]


def test_what_stands_behind_the_newest_things_is_not_called_near() -> None:
    shop = stocked()
    mug, others = ("view", "mug-1"), [("view", "hat-1"), ("view", "hat-2"), ("view", "hat-1"), ("search", "hats")]
    offered = offer(shop, "mug-2", text=0.5)
    assert code(shop, offered, steps(mug, *others[:3])) == "near"  # behind two things, one of them met twice
    assert code(shop, offered, steps(mug, *others)) is None


def test_what_is_far_is_not_called_near() -> None:
    shop = stocked(*["saw-1"] * 2)
    far = offer(shop, "saw-1", text=0.1, prior=0.01)
    assert code(shop, far, steps(("view", "hat-1"))) == "popular"
    assert code(shop, offer(shop, "saw-1", text=0.1), steps(("view", "hat-1"))) is None


def test_near_begins_at_its_bound() -> None:
    shop = stocked()
    known = {item_id: shop.row_of(item_id) for item_id in shop.items}
    text = shop.layout.slices[0]
    called = 0
    for one, vector in known.items():
        for other, row in known.items():
            if one == other:
                continue
            assert vector is not None
            assert row is not None
            near = bool((vector[text] * row[text]).sum() >= NEAR)
            called += near
            assert (code(shop, offer(shop, one, text=0.5), steps(("view", other))) == "near") is near
    assert 0 < called < len(known) ** 2 / 2


def test_an_item_is_no_reason_for_itself() -> None:
    shop = stocked(*["mug-1>mug-1"] * 3)
    every = offer(shop, "mug-1", pair="mug-1", alike="mug-1", **dict.fromkeys(PARTS[:5], 0.5))
    assert code(shop, every, steps(("cart_add", "mug-1"))) is None
    found = reason(shop, every, steps(("view", "mug-3"), ("cart_add", "mug-1")))
    assert found is not None
    assert (found.code, found.items) == ("near", ["mug-3"])


# ------------------------------------------------------------------------------------------------ together, neighbours
@pytest.mark.parametrize(
    ("part", "english", "chinese"),
    [
        (
            "counts",
            "Others chose it along with felt winter hat, which you viewed.",
            "其他顾客把它与您浏览过的“felt winter hat”一起选购。",
        ),
        (
            "neighbours",
            "Visitors with choices like yours chose it along with felt winter hat, which you viewed.",
            "与您选择相似的顾客把它与您浏览过的“felt winter hat”一起选购。",
        ),
    ],
)
def test_a_pair_needs_two_visitors_to_be_cited(part: str, english: str, chinese: str) -> None:
    history = steps(("view", "hat-1"))
    shop = stocked("hat-1>saw-1")
    assert code(shop, offer(shop, "saw-1", pair="hat-1", alike="hat-1", **{part: 0.5}), history) is None
    shop = stocked("hat-1>saw-1", "saw-1>hat-1")
    found = reason(shop, offer(shop, "saw-1", pair="hat-1", alike="hat-1", **{part: 0.5}), history)
    assert found == Reason(
        code="together" if part == "counts" else "neighbours",
        sentence=english,
        sentence_zh=chinese,
        items=["hat-1"],
        visitors=2,
    )


@pytest.mark.parametrize("part", ["counts", "neighbours", "behaviour"])
def test_one_visitor_who_comes_again_is_one(part: str) -> None:
    shop = stocked(titles={"tea": "tea", "rug": "rug"})
    for session in range(4):
        shop.learn(small_past.walk("tea", "rug", session=session, visitor=7))
    candidate = offer(shop, "rug", pair="tea", alike="tea", **{part: 0.5})
    assert code(shop, candidate, steps(("view", "tea"))) is None
    shop.learn(small_past.walk("tea", "rug", session=9, visitor=8))
    assert code(shop, candidate, steps(("view", "tea"))) == ("neighbours" if part == "neighbours" else "together")


def test_what_comes_with_everything_is_popular_and_no_pair() -> None:
    history = steps(("view", "hat-1"))
    everywhere = [f"{item_id}>saw-1" for item_id in ("mug-1", "mug-2") for _ in range(4)]
    shop = stocked(
        *["hat-1>saw-1", "hat-1>hat-2"] * 2, *everywhere
    )  # of what follows hat-1 half, of all events 10 in 24
    for part in ("counts", "neighbours"):
        candidate = offer(shop, "saw-1", pair="hat-1", alike="hat-1", **{part: 0.5})
        assert code(shop, candidate, history) == "popular"
    assert code(shop, offer(shop, "saw-1", behaviour=0.5), history) is None
    shop = stocked(*["hat-1>saw-1", "hat-1>hat-2"] * 2, *everywhere[:3])  # 5 in 14
    assert code(shop, offer(shop, "saw-1", pair="hat-1", counts=0.5), history) == "popular"
    shop = stocked(*["hat-1>saw-1", "hat-1>hat-2"] * 2, *everywhere[:1])  # 3 in 10
    assert code(shop, offer(shop, "saw-1", pair="hat-1", counts=0.5), history) == "together"


def test_only_what_the_visitor_met_is_cited() -> None:
    shop = stocked(*["hat-1>saw-1"] * 3)
    for part in ("counts", "neighbours", "behaviour"):
        candidate = offer(shop, "saw-1", pair="hat-1", alike="hat-1", **{part: 0.5})
        assert code(shop, candidate, steps(("view", "mug-1"), ("search", "hat-1"))) is None


def test_behaviour_cites_a_pair_that_was_in_fact_met_the_newest_of_the_session() -> None:
    shop = stocked(*["hat-1>saw-1"] * 2, "mug-1>saw-1", *["hat-2>saw-1"] * 2)
    history = steps(("view", "hat-2"), ("view", "hat-1"), ("view", "mug-1"))
    found = reason(shop, offer(shop, "saw-1", behaviour=0.9, text=0.1), history)
    assert found is not None
    assert (found.code, found.items, found.visitors) == ("together", ["hat-1"], 2)
    assert code(shop, offer(shop, "saw-2", behaviour=0.9), history) is None


def test_the_part_that_adds_most_speaks() -> None:
    shop = stocked(*["hat-1>mug-2"] * 2)
    history = steps(("view", "mug-1"), ("view", "hat-1"))
    near = offer(shop, "mug-2", text=0.5, counts=0.1, prior=0.01, pair="hat-1")
    found = reason(shop, near, history)
    assert found is not None
    assert (found.code, found.items) == ("near", ["mug-1"])
    found = reason(shop, offer(shop, "mug-2", text=0.5, counts=0.6, prior=0.01, pair="hat-1"), history)
    assert found is not None
    assert (found.code, found.items) == ("together", ["hat-1"])


def test_a_part_that_adds_nothing_does_not_speak() -> None:
    shop = stocked(*["hat-1>mug-2"] * 2)
    assert code(shop, offer(shop, "mug-2", pair="hat-1", alike="hat-1"), steps(("view", "hat-1"))) is None


# ------------------------------------------------------------------------------------------------------------- popular
def test_popular_has_no_evidence_and_needs_many() -> None:
    shop = stocked(*["saw-1"] * 40, *["hat-1"] * 2, "pot-1")
    assert reason(shop, offer(shop, "saw-1", prior=0.05), ()) == Reason(
        code="popular", sentence="Popular with visitors of this shop.", sentence_zh="本店顾客普遍喜爱。"
    )
    assert shop.counts.prior(shop.vocabulary.codes(["hat-1"]))[0] < POPULAR
    assert code(shop, offer(shop, "hat-1", prior=0.05), ()) is None
    assert code(shop, offer(shop, "mug-1", prior=0.05), ()) is None
    once = stocked("pot-1")
    assert code(once, offer(once, "pot-1", prior=0.05), ()) is None


def test_no_reason_is_better_than_a_false_one() -> None:
    shop = stocked()
    assert code(shop, offer(shop, "saw-1", text=0.1), steps(("view", "hat-1"))) is None
    assert code(shop, offer(shop, "saw-1"), ()) is None
    assert code(shop, offer(shop, "never there", **dict.fromkeys(PARTS, 0.1)), steps(("view", "hat-1"))) is None


# ----------------------------------------------------------------------------------------------------------- cold items
NEW = pl.DataFrame(
    {
        "item_id": ["mug", "cup", "hat", "new", "odd"],
        "title": ["stoneware mug", "stoneware cup", "felt hat", "stoneware mug large", "steel saw"],
    }
)


def test_a_hardly_known_item_says_what_it_stands_in_for() -> None:
    shop = small_past.stocked(*["hat mug"] * 6, items=NEW, facts=FACTS.clear(), settings=COLD)
    borrowed = offer(shop, "new", pair="hat", counts=0.5)
    assert reason(shop, borrowed, steps(("cart_add", "hat"))) == Reason(
        code="cold",
        sentence="Close to stoneware mug, which others chose along with felt hat, which you put in your cart.",
        sentence_zh="与“stoneware mug”相近；其他顾客把后者与您加入购物车的“felt hat”一起选购。",
        items=["hat", "mug"],
        visitors=2,
    )
    assert code(shop, borrowed, steps(("view", "cup"))) is None


def test_what_it_stands_in_for_needs_two_visitors_and_to_be_near() -> None:
    shop = small_past.stocked(*["mug"] * 5, "hat mug", items=NEW, facts=FACTS.clear(), settings=COLD)
    assert code(shop, offer(shop, "new", pair="hat", counts=0.5), steps(("view", "hat"))) is None
    shop = small_past.stocked(*["hat mug"] * 6, items=NEW, facts=FACTS.clear(), settings=COLD)
    assert code(shop, offer(shop, "odd", pair="hat", counts=0.5), steps(("view", "hat"))) is None


def test_an_item_with_pairs_of_its_own_cites_them() -> None:
    shop = small_past.stocked(*["hat mug"] * 6, *["hat new"] * 2, items=NEW, facts=FACTS.clear(), settings=COLD)
    assert code(shop, offer(shop, "new", pair="hat", counts=0.5), steps(("view", "hat"))) == "together"


def test_an_item_that_came_to_be_known_stands_in_for_nothing() -> None:
    shop = small_past.stocked(*["hat mug"] * 6, items=NEW, facts=FACTS.clear(), settings=COLD)
    borrowed = offer(shop, "new", pair="hat", counts=0.5)
    for session in range(5):
        assert code(shop, borrowed, steps(("view", "hat"))) == "cold"
        shop.learn(small_past.walk("new", session=session, visitor=session))
    assert code(shop, borrowed, steps(("view", "hat"))) is None


def test_what_left_the_catalogue_is_not_what_it_stands_in_for() -> None:
    shop = small_past.stocked(*["hat mug"] * 6, *["hat cup"] * 6, items=NEW, facts=FACTS.clear(), settings=COLD)
    borrowed = offer(shop, "new", pair="hat", counts=0.5)
    found = reason(shop, borrowed, steps(("view", "hat")))
    assert found is not None
    assert found.items == ["hat", "mug"]
    shop.remove(["mug"])
    found = reason(shop, borrowed, steps(("view", "hat")))
    assert found is not None
    assert found.items == ["hat", "cup"]


# --------------------------------------------------------------------------------------------------------------- names
def test_a_long_title_is_cut_at_a_word_and_an_unknown_one_is_not_invented() -> None:
    shop = stocked(*["lost>mug-1"] * 2)
    shop.upsert([Item(item_id="long", title="stoneware " * 20), Item(item_id="mug-1", title="stoneware")])
    found = reason(shop, offer(shop, "mug-1", text=0.5), steps(("view", "long")))
    assert found is not None
    assert found.sentence == "Close to " + " ".join(["stoneware"] * 5) + "…, which you viewed."
    unnamed = reason(shop, offer(shop, "mug-1", counts=0.5, pair="lost"), steps(("view", "lost")))
    assert unnamed is not None
    assert unnamed.sentence == "Others chose it along with an item which you viewed."
    assert unnamed.sentence_zh == "其他顾客把它与您浏览过的商品一起选购。"

from __future__ import annotations

from index.counts import Counts
from streaming.items import Shop
from streaming.ranking import Candidate
from streaming.reasons import explain
from streaming.records import Item, Reason
from streaming.sessions import KINDS, Step
from tests.stories.small_shop import stocked


def steps(*seen: tuple[str, str]) -> list[Step]:
    return [Step(n, n, KINDS.index(kind), subject) for n, (kind, subject) in enumerate(seen)]


def reason(offer: Candidate, history: list[Step], shop: Shop) -> Reason | None:
    (reasons,) = explain([offer], history, shop.words_of(history), shop)
    assert len(reasons) <= 1
    return reasons[0] if reasons else None


NEAR = Candidate("mug-2", 0.5, near=0.5, together=0.1, prior=0.01, evidence="hat-1")


def test_near_names_the_nearest_thing_of_the_session() -> None:
    history = steps(("view", "mug-1"), ("cart_add", "hat-1"))
    assert reason(NEAR, history, stocked()) == Reason(
        code="near", sentence="Close to stoneware coffee mug, which you viewed.", items=["mug-1"]
    )


def test_each_kind_has_its_verb() -> None:
    sentences = {}
    for kind in ("view", "click", "cart_add", "purchase"):
        found = reason(NEAR, steps((kind, "mug-1")), stocked())
        assert found is not None
        sentences[kind] = found.sentence.partition(", ")[2]
    assert sentences == {
        "view": "which you viewed.",
        "click": "which you looked at.",
        "cart_add": "which you put in your cart.",
        "purchase": "which you bought.",
    }


def test_a_query_can_be_the_nearest() -> None:
    found = reason(NEAR, steps(("view", "hat-1"), ("search", "stoneware mug")), stocked())
    assert found == Reason(code="near", sentence="Close to “stoneware mug”, which you searched for.", items=[])


def test_of_equally_near_things_the_newest_is_named() -> None:
    shop = stocked(titles={"a": "same words", "b": "same words", "c": "same words"})
    found = reason(Candidate("c", 0.5, near=0.5), steps(("view", "a"), ("click", "b")), shop)
    assert found is not None
    assert found.items == ["b"]


def test_what_is_far_is_not_called_near() -> None:
    offer = Candidate("saw-1", 0.1, near=0.1, prior=0.01)
    history = steps(("view", "hat-1"))
    found = reason(offer, history, stocked())
    assert found is not None
    assert found.code == "popular"


def test_a_pair_needs_two_sessions_to_be_cited() -> None:
    once = Counts.fit(["x", "x"], ["hat-1", "saw-1"])
    twice = Counts.fit(["x", "x", "y", "y"], ["hat-1", "saw-1"] * 2)
    offer = Candidate("saw-1", 0.5, together=0.5, prior=0.01, evidence="hat-1")
    history = steps(("view", "hat-1"))
    cited, uncited = reason(offer, history, stocked(twice)), reason(offer, history, stocked(once))
    assert cited == Reason(
        code="together", sentence="Others chose it along with felt winter hat, which you viewed.", items=["hat-1"]
    )
    assert uncited is not None
    assert uncited.code == "popular"


def test_the_part_that_adds_most_speaks() -> None:
    twice = Counts.fit(["x", "x", "y", "y"], ["hat-1", "mug-2"] * 2)
    history = steps(("view", "mug-1"), ("view", "hat-1"))
    found = reason(NEAR._replace(together=0.6), history, stocked(twice))
    assert found is not None
    assert (found.code, found.items) == ("together", ["hat-1"])


def test_popular_has_no_evidence_and_no_reason_is_better_than_a_false_one() -> None:
    assert reason(Candidate("saw-1", 0.1, prior=0.05), [], stocked()) == Reason(
        code="popular", sentence="Popular with visitors of this shop."
    )
    assert reason(Candidate("saw-1", 0.1, near=0.1), steps(("view", "hat-1")), stocked()) is None
    assert reason(Candidate("saw-1", 0.0), [], stocked()) is None


def test_a_long_title_is_cut_at_a_word_and_an_unknown_one_is_not_invented() -> None:
    shop = stocked()
    shop.upsert([Item(item_id="long", title="stoneware " * 20), Item(item_id="mug-1", title="mug")])
    found = reason(Candidate("long", 0.5, near=0.5), steps(("view", "long")), shop)
    assert found is not None
    assert found.sentence == "Close to " + " ".join(["stoneware"] * 5) + "…, which you viewed."
    support = Counts.fit(["x", "x", "y", "y"], ["lost", "mug-1"] * 2)
    offer = Candidate("mug-1", 0.5, together=0.5, evidence="lost")
    unnamed = reason(offer, steps(("view", "lost")), stocked(support))
    assert unnamed is not None
    assert unnamed.sentence == "Others chose it along with an item which you viewed."

"""Facts and paths of facts as reasons, and every reason of a ranking as the engine makes it."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from encoders.graph.facts import GOES_WITH
from encoders.session import PooledSessionEncoder
from streaming.items import Shop
from streaming.ranking import Candidate, RankingSettings, decayed, gather, weigh
from streaming.reasons import explain
from streaming.records import Item, Reason
from streaming.reranking import PARTS
from streaming.sessions import Step
from streaming.sights import Sights, search
from tests.index.small_tables import FACTS
from tests.streaming import small_past
from tests.streaming.reasoned import offer, reason, steps
from tests.streaming.small_past import facts_of

KITCHEN = pl.DataFrame(
    {
        "item_id": ["mug", "pot", "rug", "jug", "tea", "jam"],
        "title": ["Blue mug", "Tin pot", "Wool rug", "Glass jug", "Mint tea", "Plum jam"],
        "brand": ["Kiln", "Kiln", "Loom", "Vitra", None, None],
        "attributes": [json.dumps(told) if told else None for told in (
            {"dishwasher": True}, {}, {"colour": "red"}, {"dishwasher": True, "colour": "red"}, {}, {}
        )],
    }
)  # fmt: skip


def kitchen(*facts: tuple[str, str, str], sessions: tuple[str, ...] = ()) -> Shop:
    frame = pl.DataFrame(list(facts), schema=FACTS.schema, orient="row")
    return small_past.stocked(*sessions, items=KITCHEN, facts=frame)


def by_graph(shop: Shop, item_id: str, *history: str) -> Reason | None:
    return reason(shop, offer(shop, item_id, graph=0.4), steps(*[("view", seen) for seen in history]))


def test_a_fact_that_both_have_is_cited_as_both_have_it() -> None:
    assert by_graph(kitchen(), "pot", "mug") == Reason(
        code="fact",
        sentence="In common with Blue mug, which you viewed: brand Kiln.",
        sentence_zh="它与您浏览过的“Blue mug”有共同点：品牌 Kiln。",
        items=["mug"],
        facts=[["pot", "brand", "Kiln"], ["mug", "brand", "Kiln"]],
    )


def test_what_both_are_is_said_by_its_name() -> None:
    found = by_graph(kitchen(), "jug", "mug")
    assert found is not None
    assert found.sentence == "In common with Blue mug, which you viewed: dishwasher."
    assert found.facts == [["jug", "dishwasher", "yes"], ["mug", "dishwasher", "yes"]]


def test_of_several_items_the_one_of_the_most_telling_fact_is_cited_of_equals_the_newest() -> None:
    shop = kitchen(("tea", "colour", "red"))
    found = by_graph(shop, "jug", "rug", "mug", "tea")  # red: three items; dishwasher: two
    assert found is not None
    assert (found.items, found.facts[0][1]) == (["mug"], "dishwasher")
    found = by_graph(shop, "jug", "rug", "tea")
    assert found is not None
    assert (found.items, found.facts[0][1]) == (["tea"], "colour")


@pytest.mark.parametrize(("item_id", "seen"), [("pot", "tea"), ("tea", "pot")])
def test_a_fact_that_leads_from_one_to_the_other_is_a_path_of_one(item_id: str, seen: str) -> None:
    found = by_graph(kitchen(("pot", "made_for", "tea")), item_id, seen)
    assert found is not None
    assert (found.code, found.items, found.facts) == ("path", [seen], [["pot", "made_for", "tea"]])
    title = {"pot": "Tin pot", "tea": "Mint tea"}[seen]
    assert found.sentence == f"Linked to {title}, which you viewed: made for."
    assert found.sentence_zh == f"它与您浏览过的“{title}”直接相关联：made for。"


def test_what_visitors_showed_is_a_fact_in_both_languages() -> None:
    shop = kitchen(sessions=("tea jam",) * 2)
    found = by_graph(shop, "jam", "tea")
    assert found is not None
    assert (found.code, found.facts) == ("path", [["jam", GOES_WITH, "tea"]])
    assert (found.sentence, found.sentence_zh) == (
        "Linked to Mint tea, which you viewed: goes with.",
        "它与您浏览过的“Mint tea”直接相关联：常与之搭配。",
    )


def test_a_path_names_what_it_leads_over_in_its_order_items_by_their_titles() -> None:
    shop = kitchen(("jam", "made_for", "tea"), ("tea", "brewed_in", "pot"))
    found = by_graph(shop, "jam", "mug")  # mug - Kiln - pot - tea - jam: too far
    assert found is None
    found = by_graph(shop, "tea", "mug")
    assert found is not None
    assert (found.code, found.items) == ("path", ["mug"])
    assert found.facts == [["mug", "brand", "Kiln"], ["pot", "brand", "Kiln"], ["tea", "brewed_in", "pot"]]
    assert found.sentence == "Linked through Kiln, Tin pot to Blue mug, which you viewed."
    assert found.sentence_zh == "它通过Kiln, Tin pot与您浏览过的“Blue mug”相关联。"


def test_a_way_over_one_thing_that_is_spelled_in_two_ways_names_it_once() -> None:
    shop = kitchen(("tea", "farm", "Upton"), ("farm:upton", "lies_in", "Asia"), ("jam", "lies_in", "asia"))
    found = by_graph(shop, "jam", "tea")
    assert found is not None
    assert [fact[1] for fact in found.facts] == ["farm", "lies_in", "lies_in"]
    assert found.sentence == "Linked through Upton, Asia to Mint tea, which you viewed."


def test_without_a_fact_in_common_there_is_none() -> None:
    assert by_graph(kitchen(), "jam", "mug", "rug") is None
    shop = kitchen()
    found = reason(shop, offer(shop, "jam", graph=0.4, text=0.3), steps(("view", "mug"), ("search", "plum jam")))
    assert found is not None
    assert found.code == "near"


def test_what_everything_has_in_common_explains_nothing() -> None:
    everything = [(item_id, "sold_by", "us") for item_id in KITCHEN["item_id"]]
    assert by_graph(kitchen(*everything), "jam", "mug") is None


def test_facts_of_the_knowledge_topic_are_cited_at_once_and_taken_back_no_more() -> None:
    shop = kitchen()
    assert by_graph(shop, "jam", "tea") is None
    shop.upsert_facts(facts_of("jam", ("made_by", "Anna")))
    shop.upsert_facts(facts_of("tea", ("made_by", "anna")))
    found = by_graph(shop, "jam", "tea")
    assert found is not None
    assert (found.code, found.facts) == ("fact", [["jam", "made_by", "Anna"], ["tea", "made_by", "anna"]])
    assert found.sentence == "In common with Mint tea, which you viewed: made by Anna."
    shop.remove_facts("tea")
    assert by_graph(shop, "jam", "tea") is None
    shop.upsert_facts(facts_of("tea", ("goes_on", "jam")))
    found = by_graph(shop, "jam", "tea")
    assert found is not None
    assert (found.code, found.facts) == ("path", [["tea", "goes_on", "jam"]])
    shop.upsert_facts(facts_of("tea", ("made_by", "Bert")))
    assert by_graph(shop, "jam", "tea") is None


def test_what_the_catalogue_no_longer_says_is_cited_no_more() -> None:
    shop = kitchen()
    shop.upsert([Item(item_id="pot", title="Tin pot", brand="Tinker")])
    assert by_graph(shop, "pot", "mug") is None
    shop.upsert([Item(item_id="pot", title="Tin pot", brand="kiln")])
    found = by_graph(shop, "pot", "mug")
    assert found is not None
    assert found.facts == [["pot", "brand", "kiln"], ["mug", "brand", "Kiln"]]


# ---------------------------------------------------------------------------------------------- by the ranking itself
def ranked(shop: Shop, history: tuple[Step, ...], **weights: Any) -> dict[str, tuple[Candidate, Reason | None]]:
    """What the engine would rank, with its reasons; weights that are not given are 0."""
    settings = RankingSettings(**(dict.fromkeys(PARTS, 0.0) | weights))
    sight = Sights(shop, PooledSessionEncoder(shop.dimension)).of("visitor", history)
    (near,) = search(shop, [sight], settings.query_weights, settings.nearest, cold=settings.cold)
    ranking = weigh(gather(decayed(history, settings.decay), sight, near, shop, settings, own=0), shop, settings, sight)
    candidates = list(ranking.candidates)
    reasons = explain(candidates, history, sight.words, shop)
    return {each.item_id: (each, why[0] if why else None) for each, why in zip(candidates, reasons, strict=True)}


def test_each_part_of_a_ranking_has_its_reason() -> None:
    shop = kitchen(("jam", "made_for", "tea"), sessions=("tea mug",) * 3)
    history = steps(("view", "tea"))
    for part, item_id, expected in (
        ("counts", "mug", "together"),
        ("neighbours", "mug", "neighbours"),
        ("text", "mug", None),
        ("graph", "jam", "path"),
        ("prior", "mug", "popular"),
    ):
        candidate, why = ranked(shop, history, **{part: 1.0})[item_id]
        assert candidate.z == pytest.approx(sum(candidate.parts))
        assert (why.code if why is not None else None) == expected, part


def lent(shop: Shop, item_id: str) -> list[str]:
    return shop.vocabulary.ids(warm for warm, _ in shop.lenders(shop.vocabulary.code(item_id)))


def test_evidence_of_a_ranking_is_always_in_the_session() -> None:
    shop = kitchen(
        ("jam", "brand", "kiln"), sessions=("tea mug",) * 6 + ("pot mug",) * 5 + ("tea rug", "pot tea", "pot tea")
    )
    history = steps(("view", "tea"), ("search", "blue"), ("click", "pot"))
    seen, codes = {"tea", "pot"}, set()
    for weights in ({part: 1.0} for part in PARTS):
        for candidate, why in ranked(shop, history, **weights).values():
            if why is not None:
                cited = set(why.items)
                codes.add(why.code)
                assert candidate.item_id not in cited
                assert (cited - set(lent(shop, candidate.item_id)) if why.code == "cold" else cited) <= seen
                if why.code in ("together", "neighbours"):
                    pair = shop.vocabulary.codes([*cited, candidate.item_id]).tolist()
                    assert shop.counts.first_pair(pair[:1], pair[1], visitors=2) is not None
                    assert why.visitors == 2
    assert codes == {"near", "together", "neighbours", "fact", "path", "popular"}


@pytest.mark.parametrize("part", ["text", "graph", "behaviour"])
def test_offers_together_have_the_reasons_that_each_has_alone(part: str) -> None:
    """Whatever is looked up once for all of them; among them are items of the session and one that nobody knows."""
    shop = kitchen(("jam", "goes_on", "pot"), ("tea", "brewed_in", "pot"), sessions=("tea mug",) * 3 + ("jug mug",) * 2)
    shop.met(small_past.told("new", "Mint teapot"))
    history = steps(*[("view", item_id) for item_id in ("new", "rug", "pot", "jug", "mug")], ("search", "mint tea"))
    offers = [offer(shop, item_id, **{part: 0.5}) for item_id in (*KITCHEN["item_id"], "new", "stranger")]
    together = explain(offers, history, shop.words_of(history), shop)
    assert together == [explain([each], history, shop.words_of(history), shop)[0] for each in offers]
    assert sum(map(len, together)) >= 2


def test_what_was_said_once_is_said_with_the_new_title_as_soon_as_there_is_one() -> None:
    shop = kitchen(("jug", "stands_in", "rug"))
    offers = [offer(shop, "pot", graph=0.4), offer(shop, "jug", graph=0.4)]
    history = steps(("view", "mug"), ("view", "rug"))

    def said() -> list[str]:
        return [each.sentence for (each,) in explain(offers, history, shop.words_of(history), shop)]

    brand, relation = ("In common with {}, which you viewed: brand Kiln.", "Linked to {}, which you viewed: stands in.")
    assert said() == said() == [brand.format("Blue mug"), relation.format("Wool rug")]
    shop.upsert([Item(item_id="mug", title="Green mug", brand="Kiln"), Item(item_id="rug", title="Silk rug")])
    assert said() == [brand.format("Green mug"), relation.format("Silk rug")]
    shop.remove(["mug"])
    assert [why for why in explain(offers, history, (None, None), shop)[0] if why.items == ["mug"]] == []

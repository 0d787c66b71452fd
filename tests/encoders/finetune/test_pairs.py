import polars as pl

from encoders.finetune.pairs import TIMELESS, digest_of, fact_pairs, next_item_pairs, query_pairs, sampled
from encoders.graph.facts import Fact

TEXTS = {"a": "red mug", "b": "blue mug", "c": "kettle", "twin": "red mug"}


def log(*rows):
    return pl.DataFrame(rows, schema=["session_id", "kind", "item_id", "query", "time"], orient="row")


def test_an_item_and_the_next_of_the_same_session():
    events = log(
        ("s1", "view", "a", None, 1),
        ("s2", "view", "c", None, 2),
        ("s1", "view", "b", None, 3),
        ("s1", "view", "b", None, 4),
        ("s1", "view", "nameless", None, 5),
        ("s1", "view", "c", None, 6),
        ("s2", "view", "a", None, 7),
        ("s2", "view", "twin", None, 8),
    )
    assert next_item_pairs(events, TEXTS) == [
        ("red mug", "blue mug", "next", 3),
        ("blue mug", "kettle", "next", 6),
        ("kettle", "red mug", "next", 7),
    ]


def test_the_words_of_a_search_and_the_item_right_after_it():
    events = log(
        ("s1", "search", None, "something  to drink from", 1),
        ("s2", "view", "c", None, 2),
        ("s1", "click", "a", None, 3),
        ("s1", "click", "b", None, 4),
        ("s2", "search", None, "pots", 5),
    )
    assert query_pairs(events, TEXTS) == [("something to drink from", "red mug", "query", 3)]
    assert query_pairs(events.drop("query"), TEXTS) == []


def test_facts_of_behaviour_or_already_said_make_no_pair():
    facts = {
        "a": [
            Fact("a", "colour", "red"),
            Fact("a", "also_bought", "c"),
            Fact("a", "goes_with", "c"),
            Fact("a", "made_for", "c"),
            Fact("a", "category", "Home > Mugs and cups"),
        ],
        "nameless": [Fact("nameless", "brand", "Alpine")],
    }
    assert fact_pairs(facts, TEXTS) == [
        ("red mug", "made for kettle", "fact", TIMELESS),
        ("red mug", "category Mugs and cups", "fact", TIMELESS),
    ]


def test_a_sample_is_that_of_its_seed_in_order():
    pairs = next_item_pairs(log(*(("s", "view", "ab"[n % 2], None, n) for n in range(50))), TEXTS)
    drawn = sampled(pairs, 10, seed=3)
    assert drawn == sampled(pairs, 10, seed=3) != sampled(pairs, 10, seed=4)
    assert [pair.time for pair in drawn] == sorted({pair.time for pair in drawn})
    assert sampled(pairs, 100) == pairs


def test_the_digest_follows_texts_and_pairs():
    pairs = next_item_pairs(log(("s", "view", "a", None, 1), ("s", "view", "b", None, 2)), TEXTS)
    told = {digest_of(TEXTS, pairs), digest_of(TEXTS, []), digest_of({"a": "red mug"}, pairs)}
    assert len(told) == 3

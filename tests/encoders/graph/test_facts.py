import polars as pl
import pytest

from encoders.graph.facts import (
    GOES_WITH,
    Fact,
    behaviour_facts,
    catalogue_facts,
    entity,
    group_by_head,
    is_safe,
    label,
    named_entity,
    table_facts,
)


def test_catalogue_says_brand_every_level_of_the_path_and_attributes():
    facts = catalogue_facts("i", " OPI ", "Beauty >Nails> Polish", {"colour": "red", "ml": 15.0, "set": True})
    assert facts == [
        Fact("i", "brand", "OPI"),
        Fact("i", "category", "Beauty"),
        Fact("i", "category", "Beauty > Nails"),
        Fact("i", "category", "Beauty > Nails > Polish"),
        Fact("i", "colour", "red"),
        Fact("i", "ml", "15"),
        Fact("i", "set", "yes"),
    ]


@pytest.mark.parametrize("nothing", ["Unknown", "", " ", "N/A", "none"])
def test_what_says_nothing_is_no_fact(nothing):
    assert catalogue_facts("i", nothing, f"{nothing} > {nothing}", {"colour": nothing}) == []


def test_attributes_that_are_no_words_are_no_facts():
    odd = {"gift": False, "none": None, "list": ["a"], "map": {"a": 1}, "text": "x" * 121, " ": "blank"}
    assert catalogue_facts("i", attributes=odd) == []


TABLE = pl.DataFrame(
    {
        "head": ["a", "a", "a", "a", "a"],
        "relation": ["brand", "also_bought", "Also Viewed", "bought-together", "brand"],
        "tail": ["brand:OPI", "b", "b", "c", "brand:OPI"],
    }
)


def test_a_table_is_read_without_relations_that_may_know_the_future():
    assert table_facts(TABLE) == [Fact("a", "brand", "brand:OPI")]
    assert [fact.relation for fact in table_facts(TABLE, "all")] == TABLE["relation"].to_list()[:4]
    assert not any(map(is_safe, ["also_bought", "also_viewed", "bought_together"]))


def test_behaviour_needs_two_visitors_and_is_bounded():
    pairs = pl.DataFrame(
        {
            "before": ["a", "a", "a", "a", "b", "b"],
            "after": ["e", "d", "c", "b", "a", "b"],
            "weight": [1.0, 2.0, 2.0, 9.0, 0.5, 7.0],
            "visitors": [2, 3, 2, 1, 2, 5],
        }
    )
    assert behaviour_facts(pairs, most=2) == [
        Fact("a", GOES_WITH, "c"),
        Fact("a", GOES_WITH, "d"),
        Fact("b", GOES_WITH, "a"),
    ]
    assert len(behaviour_facts(pairs, visitors=1)) == 5
    assert behaviour_facts(pairs.clear()) == []


def test_entities_of_two_relations_are_two_and_spelling_does_not_matter():
    assert entity("brand", "Orange") != entity("colour", "Orange")
    assert entity("brand", " L'Oréal  Paris") == entity("Brand", "l'oréal paris")
    assert entity("category", "A > B") == entity("subcategory_of", "category:a > b") == named_entity("category:A > B")
    assert named_entity("B0012") is None
    assert named_entity("brand:") is None
    assert entity("starts", "12:30") != entity("ends", "12:30")


def test_no_item_id_is_an_entity():
    with_control = [entity(relation, tail) for relation, tail in (("brand", "x"), ("", "x"), ("a", "b:c"))]
    assert all("\x1f" in key for key in with_control)


def test_labels_are_what_a_person_says():
    assert label("category:Beauty > Nails > Top Coats") == "Top Coats"
    assert label("雪花秀") == "雪花秀"


def test_facts_are_grouped_in_their_order():
    facts = [Fact("b", "r", "1"), Fact("a", "r", "2"), Fact("b", "r", "0")]
    assert group_by_head(facts) == {"b": [facts[0], facts[2]], "a": [facts[1]]}

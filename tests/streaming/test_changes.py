"""Which records of the catalogue a visitor waits for."""

from __future__ import annotations

from typing import Any

import pytest

from streaming import changes
from streaming.changes import Change, ChangeFinder, reason
from streaming.records import Item


def tea(price: float | None = 10.0, **fields: Any) -> Item:
    return Item(**({"item_id": "tea", "title": "Tea", "price": price, "currency": "EUR"} | fields))


def found(before: Item | None, after: Item, finder: ChangeFinder | None = None) -> str | None:
    change = (finder or ChangeFinder(5)).upserted(before, after, partition=0, offset=7, time=9)
    return change.trigger if change is not None else None


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (tea(10), tea(9.5), "price_drop"),
        (tea(0.1), tea(0.095), "price_drop"),
        (tea(10), tea(9.51), None),
        (tea(10), tea(11), None),
        (tea(10), tea(0), "price_drop"),
        (tea(0), tea(0), None),
        (tea(None), tea(5), None),
        (tea(10), tea(None), None),
        (tea(10), tea(5, currency="USD"), None),
        (tea(10), tea(5, available=False), None),
        (tea(10), tea(5, stock=0), None),
        (tea(stock=0), tea(stock=1), "back_in_stock"),
        (tea(stock=0), tea(), "back_in_stock"),
        (tea(available=False), tea(), "back_in_stock"),
        (tea(available=False), tea(stock=0), None),
        (tea(10, stock=0), tea(5), "back_in_stock"),
        (None, tea(), None),
    ],
)
def test_what_a_visitor_waits_for(before: Item | None, after: Item, expected: str | None) -> None:
    assert found(before, after) == expected


def test_the_percentage_is_a_setting() -> None:
    assert found(tea(10), tea(9), ChangeFinder(10)) == "price_drop"
    assert found(tea(10), tea(9), ChangeFinder(11)) is None


def test_what_was_removed_and_comes_back_is_back_in_stock_once() -> None:
    finder = ChangeFinder(5)
    finder.removed(tea(10))
    finder.removed(None)
    change = finder.upserted(None, tea(8), partition=0, offset=7, time=9)
    assert change == Change("tea", "back_in_stock", 0, 7, 9, 10.0, 8.0, "EUR")
    assert found(None, tea(), finder) is None
    finder.removed(tea(10))
    assert found(None, tea(stock=0), finder) is None


def test_memory_of_what_was_removed_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "REMOVED_KEPT", 2)
    finder = ChangeFinder(5)
    for name in ("tea", "mug", "pot"):
        finder.removed(tea(item_id=name))
    assert [found(None, tea(item_id=name), finder) for name in ("tea", "mug", "pot")] == [None, *["back_in_stock"] * 2]


def test_a_price_is_one_thing_to_remember_and_a_return_another() -> None:
    drop, deeper = (Change("tea", "price_drop", 0, 7, 9, 10.0, price, "EUR") for price in (9.0, 8.0))
    back, again = (Change("tea", "back_in_stock", 0, n, n, None, n, "EUR") for n in (1, 2))
    assert len({drop.mark, deeper.mark, back.mark}) == 3
    assert back.mark == again.mark


def test_a_price_holds_until_it_is_another() -> None:
    drop = Change("tea", "price_drop", 0, 7, 9, 10.0, 9.0, "EUR")
    assert [drop.holds(item) for item in (tea(9.0), tea(9.5), tea(8.0), None)] == [True, False, False, True]
    assert Change("tea", "back_in_stock", 0, 7, 9, 10.0, 9.0, "EUR").holds(tea(20.0))


def test_the_reason_has_the_figures_and_the_words() -> None:
    drop = Change("tea", "price_drop", 0, 7, 9, 1234.5, 1000.0, "EUR")
    told = reason(drop, {"tea": tea(title="Green tea " * 20)})
    assert (told.code, told.old_price, told.price, told.items) == ("price_drop", 1234.5, 1000.0, ["tea"])
    assert told.sentence.endswith("…: now 1,000.00 EUR, before 1,234.50 EUR.")
    assert told.sentence_zh.endswith("：现价 1,000.00 EUR，原价 1,234.50 EUR。")
    back = reason(Change("tea", "back_in_stock", 0, 7, 9, None, None, None), {})
    assert (back.sentence, back.sentence_zh) == ("tea is available again.", "tea 已重新有货。")

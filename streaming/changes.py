"""Changes of the catalogue that concern visitors: a lower price, an item that is there again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from streaming.records import Item, Reason
from streaming.sentences import shortened
from streaming.shelf import sellable

REMOVED_KEPT = 100_000
"""Items whose removal is remembered: one of them that comes back is back in stock, not new."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one record of `catalogue` did to one item."""

    item_id: str
    trigger: Literal["price_drop", "back_in_stock"]
    partition: int
    offset: int
    """Of the record."""
    time: int
    """The record's own timestamp, ms since the epoch."""
    old_price: float | None
    price: float | None
    currency: str | None

    @property
    def mark(self) -> str:
        """What a session remembers it by: it hears of a price once, and of a return once."""
        said = [self.trigger, self.item_id]
        return "\0".join([*said, repr(self.price)] if self.trigger == "price_drop" else said)

    def holds(self, item: Item | None) -> bool:
        """Whether the item still costs what it said; one that was sold out or removed since is asked elsewhere."""
        return item is None or self.trigger != "price_drop" or item.price == self.price


class ChangeFinder:
    """Tells from each record of `catalogue` what it changed, given the item as it was.

    >>> finder = ChangeFinder(percent=5)
    >>> dear, cheap = (Item(item_id="tea", title="Tea", price=price, currency="EUR") for price in (10.0, 9.5))
    >>> change = finder.upserted(dear, cheap, partition=0, offset=7, time=1_700_000_000_000)
    >>> change.trigger, change.old_price, change.price
    ('price_drop', 10.0, 9.5)
    """

    def __init__(self, percent: float) -> None:
        """
        Args:
            percent: by how much a price has to fall at once.
        """
        self._percent = percent
        self._removed: OrderedDict[str, Item] = OrderedDict()

    def upserted(self, before: Item | None, after: Item, *, partition: int, offset: int, time: int) -> Change | None:
        """The change that a new version of an item is; None: nothing that a visitor waits for.

        Args:
            before: the item as it was; None: the catalogue did not have it.
        """
        back = self._removed.pop(after.item_id, None)
        was = before or back
        if was is None or not sellable(after):
            return None
        trigger: Literal["price_drop", "back_in_stock"]
        if before is None or not sellable(before):
            trigger = "back_in_stock"
        elif self._lowered(before, after):
            trigger = "price_drop"
        else:
            return None
        comparable = was.currency == after.currency
        old_price = was.price if comparable else None
        return Change(after.item_id, trigger, partition, offset, time, old_price, after.price, after.currency)

    def removed(self, before: Item | None) -> None:
        """An item was taken out of the catalogue."""
        if before is None:
            return
        self._removed[before.item_id] = before
        if len(self._removed) > REMOVED_KEPT:
            self._removed.popitem(last=False)

    def _lowered(self, before: Item, after: Item) -> bool:
        if before.price is None or after.price is None or before.currency != after.currency:
            return False
        return after.price < before.price and after.price <= before.price * (1 - self._percent / 100) + 1e-9


def reason(change: Change, items: Mapping[str, Item]) -> Reason:
    """Why the item is offered now, in words."""
    item = items.get(change.item_id)
    title = shortened(item.title) if item is not None else change.item_id
    now, before = _money(change.price, change.currency), _money(change.old_price, change.currency)
    if change.trigger == "price_drop":
        sentence, chinese = f"{title}: now {now}, before {before}.", f"{title}：现价 {now}，原价 {before}。"
    else:
        sentence = f"{title} is available again" + (f", for {now}." if now else ".")
        chinese = f"{title} 已重新有货" + (f"，现价 {now}。" if now else "。")
    return Reason(
        code=change.trigger,
        sentence=sentence,
        sentence_zh=chinese,
        items=[change.item_id],
        old_price=change.old_price,
        price=change.price,
    )


def _money(amount: float | None, currency: str | None) -> str:
    """
    >>> _money(1234.5, "EUR"), _money(None, "EUR")
    ('1,234.50 EUR', '')
    """
    return "" if amount is None else f"{amount:,.2f} {currency or ''}".strip()

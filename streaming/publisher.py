"""What a shop's back office says: which items there are, facts about them, orders to the workers, what time it is."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from streaming import codec, intake, topics
from streaming.delivery import Delivery, OnError, validated
from streaming.records import Control, Fact, Facts, Item, Record, Tick
from streaming.settings import Settings

if TYPE_CHECKING:
    import polars as pl


class Publisher:
    """Puts records on `catalogue`, `knowledge`, `control` and `ticks`. Thread-safe, and safe over a fork.

        with Publisher(settings) as shop:
            shop.put_item(Item(item_id="B00N1", title="Rose hand cream", price=7.5))
            shop.remove_item("B00N0")

    Every method raises InputError for a record that breaks the wire contract, and BrokerError where no broker takes it.
    """

    def __init__(self, settings: Settings | None = None, *, on_error: OnError | None = None) -> None:
        """As `EventProducer`: settings from the environment by default; connects at the first record."""
        settings = settings or Settings.from_environment()
        self._prefix = settings.topics.prefix
        self.delivery = Delivery(settings, on_error=on_error)

    def put_item(self, item: Item) -> None:
        """The item as it now is, whole: it replaces what was known of it."""
        self._put(topics.CATALOGUE, "item_id", item.item_id, item)

    def remove_item(self, item_id: str) -> None:
        """The item is gone: no prediction names it any more."""
        self._put(topics.CATALOGUE, "item_id", item_id, None)

    def put_facts(self, facts: Facts) -> None:
        """All facts of one head: they replace what was known of it."""
        self._put(topics.KNOWLEDGE, "head", facts.head, facts)

    def remove_facts(self, head: str) -> None:
        """Nothing is known of this head any more."""
        self._put(topics.KNOWLEDGE, "head", head, None)

    def put_control(self, control: Control) -> None:
        """An order to every worker; its receipts come on `receipts`."""
        self._put(topics.CONTROL, "control_id", control.control_id, control)

    def tick(self, time: int, partition: int) -> None:
        """Time passes on one partition. Only where nothing else ticks: live workers do it themselves."""
        value = validated(Tick(time=time))
        self.delivery.send(self._prefix + topics.TICKS.name, value, headers=codec.HEADERS, partition=partition)

    def flush(self, timeout_s: float = 30.0) -> None:
        """Wait until everything put before this call is confirmed or refused; raises DeliveryError as `Delivery`."""
        self.delivery.flush(timeout_s)

    def close(self, timeout_s: float = 30.0) -> None:
        """Flush, then part from the broker; raises DeliveryError as `Delivery`."""
        self.delivery.close(timeout_s)

    def __enter__(self) -> Publisher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _put(self, topic: topics.Topic, field: str, key: str, record: Record | None) -> None:
        intake.check_id(field, key)
        value = None if record is None else validated(record)
        self.delivery.send(self._prefix + topic.name, value, key.encode(), headers=codec.HEADERS)


def facts_of(frame: pl.DataFrame) -> Iterator[Facts]:
    """The facts of a shop folder's table `facts`, all of one head in one record, heads as they first come."""
    heads: dict[str, list[Fact]] = {}
    for head, relation, tail in frame.select("head", "relation", "tail").iter_rows():
        heads.setdefault(head, []).append(Fact(relation=relation, tail=tail))
    for head, facts in heads.items():
        yield Facts(head=head, facts=facts)

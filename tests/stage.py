"""The stage of a story on a broker: items and events are put there, and what came of them is read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from kafka import KafkaProducer

from streaming import codec, connections, topics
from streaming.admin import create_topics
from streaming.records import CLICK_KINDS, EventRecord, Item, Prediction, Record, Suppressed
from streaming.settings import Settings
from streaming.tail import tail

R = TypeVar("R", bound=Record)
T = TypeVar("T")


class Stage:
    """The topics of one test. Everything sent is confirmed when the call returns."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        create_topics(settings)
        self._producer = KafkaProducer(
            **connections.kafka_python(settings),
            acks="all",
            enable_idempotence=settings.broker.fence,
            max_request_size=topics.MAX_RECORD_BYTES + 65_536,
        )

    def close(self) -> None:
        """Parts from the broker."""
        self._producer.close()

    def send(self, topic: topics.Topic, rows: Iterable[tuple[bytes | None, bytes | None]], **options: Any) -> list[Any]:
        """Keys and values as they are; returns where each landed."""
        name = self.settings.topics.prefix + topic.name
        pending = [self._producer.send(name, value, key, **options) for key, value in rows]
        return [confirmation.get(timeout=60) for confirmation in pending]

    def put_items(self, items: Sequence[Item]) -> None:
        """On `catalogue`, in this order."""
        self.send(topics.CATALOGUE, [(i.item_id.encode(), codec.encode(i)) for i in items], headers=codec.HEADERS)

    def remove_items(self, ids: Sequence[str]) -> None:
        """Tombstones on `catalogue`."""
        self.send(topics.CATALOGUE, [(item_id.encode(), None) for item_id in ids])

    def send_events(self, events: Sequence[EventRecord]) -> None:
        """On `clicks` and `browses`, in this order."""
        for event in events:
            topic = topics.CLICKS if event.kind in CLICK_KINDS else topics.BROWSES
            row = (event.session_id.encode(), codec.encode(event))
            self._producer.send(self.settings.topics.prefix + topic.name, row[1], row[0], codec.HEADERS)
        self._producer.flush(60)

    def raw(self, topic: topics.Topic) -> list[Any]:
        """Kafka records on a topic up to now, by partition and offset."""
        rows = tail(self.settings, [self.settings.topics.prefix + topic.name])
        return sorted(rows, key=lambda row: (row.partition, row.offset))

    def read(self, topic: topics.Topic, kind: type[R]) -> list[R]:
        """Decoded records on a topic up to now, by partition and offset."""
        return [codec.decode(row.value, kind) for row in self.raw(topic)]

    def predictions(self) -> list[Prediction]:
        """All that were sent."""
        return self.read(topics.PREDICTIONS, Prediction)

    def spoken(self) -> dict[str, Prediction]:
        """Predictions sent or held back, by id; repeats dropped."""
        held = [suppressed.prediction for suppressed in self.read(topics.SUPPRESSED, Suppressed)]
        return {prediction.prediction_id: prediction for prediction in [*self.predictions(), *held]}


def now_ms() -> int:
    """Wall time."""
    return time.time_ns() // 1_000_000


def eventually(look: Callable[[], T], good: Callable[[T], bool], seconds: float = 20, what: str = "") -> T:
    """What `look` gives once it is `good`; looks again until then.

    Raises:
        AssertionError: it was not good in time; shows what was seen last.
    """
    end = time.monotonic() + seconds
    while not good(seen := look()):
        assert time.monotonic() < end, f"{what or 'not so'} within {seconds} s; last seen: {seen!r}"
        time.sleep(0.1)
    return seen

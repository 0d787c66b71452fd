"""The load: numbered events of many sessions on both topics, and the items that they are about.

What must come of each event is known beforehand. Visitors are of two kinds, told apart by their number:

* those of one topic agree to be addressed. They look at items of two families in turn, so that each event changes the
  head of the ranking and each is answered. Their events come in one order, so every byte of the answers is known.
* those of both topics do not agree. How their events interleave is chance; but each that tells what they are after
  is answered by a prediction that is held back.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator

from kafka import KafkaProducer

from streaming import codec, connections, topics
from streaming.records import CLICK_KINDS, EventRecord, Item, Kind
from streaming.settings import Settings
from tests.torture.plan import Profile

FAMILIES = ("kettle", "boots")
"""Words whose hashes are far apart in the space of the dummy encoder."""
CLICKS: tuple[Kind, ...] = ("click", "click", "cart_add", "cart_remove")
BROWSES: tuple[Kind, ...] = ("view", "view", "search", "exit")


def one_topic(visitor: int) -> bool:
    """Whether this visitor's events are all on one topic."""
    return visitor % 4 < 2


def items(profile: Profile) -> list[Item]:
    """The catalogue: half of it of each family, in which all items are near each other."""
    return [
        Item(item_id=f"i{n}", title=" ".join([FAMILIES[n % 2]] * 5 + [f"number{n}"]), price=1.0 + n)
        for n in range(profile.items)
    ]


def events(profile: Profile) -> Iterator[EventRecord]:
    """Endless events without their time. Some sessions have many, most have few; each topic gets half."""
    draw = random.Random(profile.seed)
    turns: Counter[int] = Counter()
    number = 0
    while True:
        visitor = int(profile.sessions * draw.random() ** 1.5)
        turns[visitor] += 1
        item = 2 * draw.randrange(profile.items // 2) + turns[visitor] % 2
        kind: Kind
        if one_topic(visitor):
            kind = "click" if visitor % 4 == 0 else "view"
        else:
            kind = draw.choice(CLICKS if draw.random() < 0.5 else BROWSES)
        yield EventRecord(
            kind=kind,
            session_id=f"visitor-{visitor}",
            time=0,
            item_id=None if kind in ("search", "exit") else f"i{item}",
            query=FAMILIES[item % 2] if kind == "search" else None,
            event_id=f"e{number}",
            consent=one_topic(visitor),
        )
        number += 1


class Producer(threading.Thread):
    """Sends `events` at the profile's rate until `finish`; open loop: it does not wait for anyone."""

    def __init__(self, settings: Settings, profile: Profile) -> None:
        super().__init__(name="torture-producer", daemon=True)
        self.accepted: set[str] = set()
        """Event ids that the broker has confirmed."""
        self._settings = settings
        self._profile = profile
        self._finish = threading.Event()
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._run()
        except BaseException as exc:
            self._error = exc

    def finish(self) -> None:
        """Stops after what is due now; returns when the broker has confirmed everything.

        Raises:
            BaseException: what ended the thread early: an event that the broker refused, for one.
        """
        self._finish.set()
        self.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        prefix, profile = self._settings.topics.prefix, self._profile
        producer = _client(self._settings)
        begin, sent, pending = time.monotonic(), 0, []
        source = events(profile)
        while not self._finish.is_set():
            while sent < (time.monotonic() - begin) * profile.rate:
                event = next(source)
                event.time = time.time_ns() // 1_000_000
                topic = topics.CLICKS if event.kind in CLICK_KINDS else topics.BROWSES
                key, value = event.session_id.encode(), codec.encode(event)
                pending.append((event.event_id, producer.send(prefix + topic.name, value, key, codec.HEADERS)))
                sent += 1
            time.sleep(0.01)
        for event_id, confirmation in pending:
            confirmation.get(timeout=150)
            self.accepted.add(str(event_id))
        producer.close()


def put_catalogue(settings: Settings, profile: Profile) -> None:
    """Puts every item on `catalogue`, confirmed."""
    producer = _client(settings)
    topic = settings.topics.prefix + topics.CATALOGUE.name
    pending = [producer.send(topic, codec.encode(i), i.item_id.encode(), codec.HEADERS) for i in items(profile)]
    for confirmation in pending:
        confirmation.get(timeout=60)
    producer.close()


def _client(settings: Settings) -> KafkaProducer:
    return KafkaProducer(
        **connections.kafka_python(settings),
        acks="all",
        enable_idempotence=settings.broker.fence,
        linger_ms=5,
        delivery_timeout_ms=120_000,
        request_timeout_ms=15_000,
    )

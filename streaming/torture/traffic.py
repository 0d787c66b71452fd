"""The load: numbered events of many sessions on both topics, and the items that they are about.

What must come of each event is known beforehand. Visitors are of two kinds, told apart by their number:

* those of one topic agree to be addressed. They look at items of two families in turn, so that events change the head
  of the ranking and are answered. Their events come in one order, so every byte of the answers is known.
* those of both topics do not agree. How their events interleave is chance; but each that tells what they are after
  is answered by a prediction that is held back.

Among them, where the profile asks for it: payloads that nobody can read, events that the site sends twice, events that
come late, and cursed ones, on which the engine fails however often it is asked.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from kafka import KafkaProducer

from index.lesson import Lesson
from streaming import codec, connections, topics
from streaming.items import Shop
from streaming.records import CLICK_KINDS, EventRecord, Item, Kind
from streaming.settings import Settings
from streaming.torture.plan import Profile

FAMILIES = ("kettle", "boots")
"""Words whose hashes are far apart in the space of the dummy encoder."""
CLICKS: tuple[Kind, ...] = ("click", "click", "cart_add", "cart_remove")
BROWSES: tuple[Kind, ...] = ("view", "view", "search", "exit")
CURSE = "cursed-"
"""Begins the id of an event that the engine fails on."""
POISON = "poison-"
"""Begins the name of a payload that nobody can read; it is no event's id."""
LATE_MS = 3000
LESSONS = 200
"""Of a shop that nobody taught yet, one of each item: each goes with the two before it of its family."""
LEARNED_MS = 1_600_000_000_000


@dataclass(frozen=True, slots=True)
class Payload:
    """One record of the load."""

    topic: topics.Topic
    name: str
    """The event's id; of a payload that nobody can read `POISON` and its number."""
    key: bytes | None
    value: bytes


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
    curses = random.Random(profile.seed + 2_000_000)
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
            event_id=f"{CURSE if curses.random() < profile.cursed else ''}e{number}",
            consent=one_topic(visitor),
        )
        number += 1


class Payloads:
    """What is sent, in its order; equal profiles give equal payloads but for their times."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._events = events(profile)
        self._draw = random.Random(profile.seed + 3_000_000)
        self._number = 0
        self._again: EventRecord | None = None

    def next(self, now: int) -> Payload:
        """The next one; `now` in ms since the epoch."""
        profile, draw = self._profile, self._draw
        self._number += 1
        poisoned, repeated = draw.random() < profile.poison, draw.random() < profile.repeats
        late = draw.randrange(LATE_MS) if draw.random() < profile.late else 0
        if poisoned:
            return self._poison()
        event, self._again = self._again, None
        if event is None:
            event = next(self._events)
            event.time = now - late
            self._again = event if repeated else None
        return Payload(_topic(event), str(event.event_id), event.session_id.encode(), codec.encode(event))

    def skip(self, count: int, now: int) -> None:
        """As if so many had been sent; `now` in ms since the epoch.

        The last of them may be an event that is sent twice, whose second time is still to come. Who goes on does not
        know at what time it was sent first: it bears `now`.
        """
        for _ in range(count):
            self.next(now)

    def _poison(self) -> Payload:
        """Every way in which a payload can be wrong, in turn."""
        draw, name = self._draw, f"{POISON}{self._number}"
        right = EventRecord(kind="view", session_id="victim", time=1_700_000_000_000, item_id="i1", event_id=name)
        value, key = codec.encode(right), b"victim"
        ways: list[tuple[bytes | None, bytes]] = [
            (key, draw.randbytes(draw.randrange(1, 200)) + b"\xc1"),
            (key, value[: draw.randrange(1, len(value))]),
            (key, value.replace(b"\xa1v\x01", b"\xa1v\x7f")),
            (key, b""),
            (b"somebody-else", value),
            (None, value),
            (key, codec.encode(EventRecord(kind="view", session_id="victim", time=1_700_000_000_000))),
            (key, b"\x91" * 100_000),
        ]
        key_sent, value_sent = ways[self._number % len(ways)]
        return Payload(topics.BROWSES, name, key_sent, value_sent)


def _topic(event: EventRecord) -> topics.Topic:
    return topics.CLICKS if event.kind in CLICK_KINDS else topics.BROWSES


def teach(shop: Shop) -> None:
    """What it had learned before all this, where workers may do less: so there is something to say without vectors."""
    for number in range(LESSONS):
        context = [f"i{(number - back) % LESSONS}" for back in (2, 4)]
        shop.observe(Lesson(f"i{number}", context, "view", LEARNED_MS + number, number // 20, number // 20))


def put_catalogue(settings: Settings, profile: Profile) -> None:
    """Puts every item on `catalogue`, confirmed."""
    producer = client(settings)
    topic = settings.topics.prefix + topics.CATALOGUE.name
    pending = [producer.send(topic, codec.encode(i), i.item_id.encode(), codec.HEADERS) for i in items(profile)]
    for confirmation in pending:
        confirmation.get(timeout=60)
    producer.close()


def client(settings: Settings) -> KafkaProducer:
    """A producer that does not give up for two minutes."""
    return KafkaProducer(
        **connections.kafka_python(settings),
        acks="all",
        enable_idempotence=settings.broker.fence,
        linger_ms=5,
        delivery_timeout_ms=120_000,
        request_timeout_ms=15_000,
    )

"""Sends a load at its times and hears what comes of it, in one event loop.

Open loop: a record is handed to the client when it is due, whether or not anything was answered. A generator that is
late says by how much; latencies count from when records were due.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streaming import codec, connections
from streaming.bench.arrivals import Seconds
from streaming.bench.load import Load
from streaming.errors import BeforehandError
from streaming.settings import Settings

DRAIN_S = 30.0
"""How long nothing may come before what is missing counts as never answered."""
PROBE_S = 60.0
"""How long a process may take to pass a first record on."""
_POLL_MS = 100
ASK_S = 0.5
"""Between two looks at what is left: whoever tells does so beside its work."""
_LOOK = 4096
"""Records after which those that were confirmed are let go: all at the end would hold the last ones up for a second."""
CROWD = 4
TICK_S = 0.001
"""Where more than so many records are due within so long they leave together, as much later at most: a timer for each
would cost the generator more than the sending, on cores that what is measured needs."""

Heard = tuple[float, str, bytes]
"""When, on which topic, and what."""
Watch = Callable[[asyncio.Event], Awaitable[None]]
"""Runs beside a load until the event is set: the load has been sent."""
Left = Callable[[], Awaitable[int]]
"""How many events are not worked off yet; asked over and over once all were sent."""


@dataclass(slots=True)
class Flight:
    """What a load came to. Times are of `time.perf_counter`, in s."""

    load: Load
    began: float = 0.0
    """When its clock began: what was due at 0 was due then."""
    sent_s: float = 0.0
    """From then until the last record was handed over."""
    behind_s: float = 0.0
    """The most that a record was handed over late."""
    heard: list[Heard] = field(default_factory=list)
    """Of what was sent here; repeats too."""
    left: int | None = None
    """Events that were not worked off; None: nobody told, and what is not heard of counts as that."""

    def latencies(self, numbers: Sequence[int], times: Sequence[float]) -> list[float]:
        """From when records were due until something was heard of them, in s."""
        return [at - self.began - float(self.load.due[number]) for number, at in zip(numbers, times, strict=True)]


class Driver:
    """A producer and a consumer on some topics. One at a time; close it by leaving its block."""

    def __init__(self, settings: Settings, hear: Sequence[str], rename: str | None = None) -> None:
        """
        Args:
            hear: topics to listen to, without their prefix, from their ends on; cut as the settings say.
            rename: topic that all records go to, in place of their own.
        """
        client, self._prefix = connections.aiokafka(settings), settings.topics.prefix
        self._rename, self._partitions = rename, settings.topics.partitions
        self._hear = [self._prefix + name for name in hear]
        self._producer = AIOKafkaProducer(
            **client, acks="all", enable_idempotence=settings.broker.fence, max_batch_size=128 * 1024
        )
        self._consumer = AIOKafkaConsumer(**client, enable_auto_commit=False, fetch_max_wait_ms=_POLL_MS)

    async def __aenter__(self) -> Driver:
        await self._producer.start()
        await self._consumer.start()
        parts = [TopicPartition(name, number) for name in self._hear for number in range(self._partitions)]
        self._consumer.assign(parts)
        await self._consumer.seek_to_end(*parts)
        for part in parts:  # a seek is lazy
            await self._consumer.position(part)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._consumer.stop()
        await self._producer.stop()

    async def probe(self) -> None:
        """Until a record that is sent comes out: the process in between reads.

        Raises:
            BeforehandError: none does in time.
        """
        name, end = self._prefix + str(self._rename), time.monotonic() + PROBE_S
        while time.monotonic() < end:
            await self._producer.send_and_wait(name, b"probe", key=b"probe")
            if await self._poll(1000):
                await asyncio.sleep(1)
                await self._poll(100)
                return
        raise BeforehandError(f"nothing that was sent to {name} came out on {', '.join(self._hear)} in {PROBE_S:.0f} s")

    async def fly(self, load: Load, answers: int, watch: Watch | None = None, left: Left | None = None) -> Flight:
        """Send it all, and hear until as many records came, or none for a while.

        Args:
            answers: records that are to come.
            watch: runs beside it.
            left: tells when all is over where not each event has a record; None: each has.

        Raises:
            KafkaError: the broker refused a record.
        """
        flight, sent = Flight(load), asyncio.Event()
        over = asyncio.Event() if left is not None else None
        hearing = asyncio.ensure_future(self._hearing(flight, answers, sent, over))
        watching = asyncio.ensure_future(watch(sent)) if watch is not None else None
        await self._send(flight)
        sent.set()
        if left is not None and over is not None:
            flight.left = await _worked_off(left)
            over.set()
        await hearing
        if watching is not None:
            await watching
        return flight

    async def _send(self, flight: Flight) -> None:
        load, clock = flight.load, time.perf_counter
        pending: list[asyncio.Future[Any]] = []
        topics = {row.topic: self._prefix + (self._rename or row.topic) for row in load.rows}
        flight.began = begun = clock() + 0.05
        number, total = 0, len(load.rows)
        while number < total:
            now = clock() - begun
            wait = _wait(load.due, number, now)
            if wait > 0:
                await asyncio.sleep(wait)
                continue
            flight.behind_s = max(flight.behind_s, now - float(load.due[number]))
            row = load.rows[number]
            pending.append(await self._producer.send(topics[row.topic], row.value, key=row.key, headers=codec.HEADERS))
            number += 1
            if number % 32 == 0:
                await asyncio.sleep(0)  # under a backlog, what comes is heard meanwhile
            if number % _LOOK == 0:
                pending = _unconfirmed(pending)
        flight.sent_s = clock() - begun
        await asyncio.gather(*pending)

    async def _hearing(self, flight: Flight, answers: int, sent: asyncio.Event, over: asyncio.Event | None) -> None:
        """Until so many were heard, or nothing is heard any more: for a while once all was sent, or, where it is told,
        once all is over."""
        last = time.monotonic()
        while len(flight.heard) < answers:
            found = await self._poll(_POLL_MS)
            if found or not sent.is_set():
                flight.heard += found
                last = time.monotonic()
            elif over.is_set() if over is not None else time.monotonic() - last > DRAIN_S:
                return

    async def _poll(self, timeout_ms: int) -> list[Heard]:
        found: dict[Any, list[Any]] = await self._consumer.getmany(timeout_ms=timeout_ms)
        now = time.perf_counter()
        return [(now, row.topic.removeprefix(self._prefix), row.value) for rows in found.values() for row in rows]


def _wait(due: Seconds, number: int, now: float) -> float:
    """How long to wait for a record, in s; 0: it is due."""
    wait = float(due[number]) - now
    crowded = wait > 0 and due[min(number + CROWD, len(due) - 1)] - now < TICK_S
    return TICK_S if crowded else max(0.0, wait)


def _unconfirmed(pending: Sequence[asyncio.Future[Any]]) -> list[asyncio.Future[Any]]:
    """Those that the broker has not answered yet.

    Raises:
        KafkaError: it refused one.
    """
    waiting = [each for each in pending if not each.done()]
    for each in pending:
        if each.done():
            each.result()
    return waiting


async def _worked_off(left: Left) -> int:
    """Waits until nothing is left, or as much as was for a while; what is left."""
    least, since = await left(), time.monotonic()
    while least > 0 and time.monotonic() - since < DRAIN_S:
        await asyncio.sleep(ASK_S)
        now = await left()
        if now < least:
            least, since = now, time.monotonic()
    return max(0, least)

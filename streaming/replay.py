"""A shop's past put on the topics as if it happened now: in order, in time, resumable."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from streaming import codec, topics
from streaming.capture import read_capture
from streaming.codec import DecodeError
from streaming.delivery import Delivery
from streaming.errors import BeforehandError, InputError
from streaming.pace import Pace, Ticks
from streaming.position import PositionFile, Watermark
from streaming.producer import checked
from streaming.records import CLICK_KINDS, EventRecord, Tick
from streaming.settings import TopicSettings

PLACED = frozenset({topics.TICKS.name, topics.LEARNED.name})
"""Topics whose records belong to a partition, not to a key."""
_NOTE_S = 0.1
_SAVE_S = 1.0
_FIELDS = EventRecord.__struct_fields__


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record to be put on a topic."""

    at: int
    """Where it stands in the log's time, ms since the epoch: what its spacing is measured by."""
    topic: str
    """Without prefix."""
    value: bytes | None
    key: bytes | None = None
    partition: int | None = None
    headers: Sequence[tuple[str, bytes]] = ()
    event_time: int | None = None
    """When it happened, ms since the epoch, where it is an event: ticks come before it."""


class Log(Protocol):
    """What can be replayed."""

    name: str
    has_ticks: bool
    """Whether time passes by records of its own."""

    def __len__(self) -> int:
        """Records in it."""

    def records(self, skip: int) -> Iterator[Outgoing]:
        """Its records in time order, without the first `skip`."""


class EventLog:
    """The events of a shop folder: a frame in time order with the columns of contracts' table `events`.

    A row that the intake would refuse is counted in `refused` and handed to `on_refused`, and not sent.
    """

    has_ticks = False

    def __init__(self, name: str, events: pl.DataFrame, on_refused: Callable[[InputError], None] | None = None) -> None:
        self.name = name
        self.refused = 0
        self._on_refused = on_refused
        self._events = events.select([column for column in events.columns if column in _FIELDS])

    def __len__(self) -> int:
        return self._events.height

    def records(self, skip: int) -> Iterator[Outgoing]:
        for row in self._events.slice(skip).iter_rows(named=True):
            yield self._outgoing(row)

    def _outgoing(self, row: dict[str, Any]) -> Outgoing:
        event = EventRecord(**{name: value for name, value in row.items() if value is not None})
        topic = topics.CLICKS if event.kind in CLICK_KINDS else topics.BROWSES
        try:
            value = checked(event)
        except InputError as exc:
            self.refused += 1
            if self._on_refused is not None:
                self._on_refused(exc)
            return Outgoing(event.time, topic.name, None)
        return Outgoing(
            event.time,
            topic.name,
            value,
            event.session_id.encode(),
            headers=codec.HEADERS,
            event_time=event.time,
        )


class CaptureLog:
    """A captured file: the same keys and values on the same topics, by the time at which they were sent.

    Memory: the whole file, since topics lie in it one after another. Ticks are made for it only where it has none.
    """

    def __init__(self, path: Path, *, since: int | None = None, limit: int | None = None) -> None:
        """
        Raises:
            InputError: it is no capture file, or was cut off.
        """
        self.name = path.name
        kept = sorted(read_capture(path), key=lambda record: record.timestamp)
        self.has_ticks = any(record.topic == topics.TICKS.name for record in kept)
        self._records = [record for record in kept if since is None or record.timestamp >= since][:limit]

    def __len__(self) -> int:
        return len(self._records)

    def records(self, skip: int) -> Iterator[Outgoing]:
        for record in self._records[skip:]:
            yield Outgoing(
                at=record.timestamp,
                topic=record.topic,
                value=record.value,
                key=record.key,
                partition=record.partition if record.topic in PLACED else None,
                headers=record.headers,
                event_time=None if self.has_ticks else _event_time(record.topic, record.value),
            )


def _event_time(topic: str, value: bytes | None) -> int | None:
    """When an event happened; none for what is no event, or what a worker could not read either."""
    if topic not in (topics.CLICKS.name, topics.BROWSES.name):
        return None
    try:
        return codec.decode(value, EventRecord).time
    except DecodeError:
        return None


@dataclass(slots=True)
class Progress:
    """How a replay stands; counts are of this run."""

    total: int
    """Records in the log."""
    skipped: int = 0
    """Records that an earlier run has delivered."""
    sent: int = 0
    ticks: int = 0
    """Moments of time put on every partition."""
    at: int | None = None
    """Time in the log, ms since the epoch."""
    behind_s: float = 0.0
    """How late the last record was sent."""
    behind_s_max: float = 0.0


class Replay:
    """Puts a log on the topics. Open loop: a record is due by the clock, whether the earlier ones were decided or not.

    Records of one session stay in order. Before an event, ticks bring every partition of `ticks` to the event's second.
    """

    def __init__(
        self,
        log: Log,
        delivery: Delivery,
        names: TopicSettings,
        pace: Pace,
        *,
        position: PositionFile | None = None,
        ticks: bool = True,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._log = log
        self._delivery = delivery
        self._prefix = names.prefix
        self._pace = pace
        self._position = position
        self._ticks = ticks and not log.has_ticks
        self._clock = clock
        self._sleep = sleep

    def run(self, note: Callable[[Progress], None] = lambda _: None) -> Progress:
        """Send all that is left, and wait until it is delivered. `note` hears how it goes, ten times a second.

        However it ends, the position file has what was confirmed: a next run goes on there. After a hard kill up to a
        second's records are sent twice.

        Raises:
            DeliveryError: some records were not accepted.
            InputError, BrokerError: as `Delivery.send`.
        """
        skipped = self._position.load() if self._position else 0
        progress = Progress(total=len(self._log), skipped=skipped)
        watermark = Watermark(skipped)
        try:
            self._send_all(progress, watermark, note)
        except BaseException:
            # The first error is the one to tell; this wait only makes the position as good as it can be.
            try:
                self._delivery.flush(timeout_s=10)
            except BeforehandError:
                pass
            raise
        else:
            self._delivery.flush(timeout_s=120)
        finally:
            self._save(watermark)
            note(progress)
        return progress

    def _send_all(self, progress: Progress, watermark: Watermark, note: Callable[[Progress], None]) -> None:
        ticks = Ticks(self._pace.tick_ms)
        partitions = self._delivery.partitions(self._prefix + topics.TICKS.name) if self._ticks else 0
        start = self._clock()
        noted = saved = start
        first_at: int | None = None
        for number, record in enumerate(self._log.records(progress.skipped), progress.skipped):
            first_at = record.at if first_at is None else first_at
            due = start + self._pace.due_s(number - progress.skipped, record.at - first_at)
            now = self._clock()
            if due > now:
                self._sleep(due - now)
            if self._ticks and record.event_time is not None:
                for moment in ticks.before(record.event_time):
                    self._tick(moment, partitions)
                    progress.ticks += 1
            self._send(record, number, watermark)
            progress.sent += 1
            progress.at = record.at
            progress.behind_s = max(0.0, self._clock() - due) if self._pace != Pace() else 0.0
            progress.behind_s_max = max(progress.behind_s_max, progress.behind_s)
            if now - noted > _NOTE_S:
                noted = now
                note(progress)
            if now - saved > _SAVE_S:
                saved = now
                self._save(watermark)

    def _send(self, record: Outgoing, number: int, watermark: Watermark) -> None:
        if record.value is None and record.key is None:  # a row that was refused
            watermark.confirm(number)
            return
        self._delivery.send(
            self._prefix + record.topic,
            record.value,
            record.key,
            headers=record.headers,
            partition=record.partition,
            on_delivered=lambda: watermark.confirm(number),
        )

    def _tick(self, moment: int, partitions: int) -> None:
        value = codec.encode(Tick(time=moment))
        for partition in range(partitions):
            self._delivery.send(self._prefix + topics.TICKS.name, value, headers=codec.HEADERS, partition=partition)

    def _save(self, watermark: Watermark) -> None:
        if self._position is not None:
            self._position.save(watermark.confirmed)

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from streaming import codec
from streaming.capture import Captured, CaptureWriter
from streaming.errors import DeliveryError, InputError
from streaming.pace import Pace
from streaming.position import PositionFile
from streaming.records import EventRecord, Tick
from streaming.replay import CaptureLog, EventLog, Progress, Replay
from streaming.settings import TopicSettings

T = 1_509_494_400_000
NAMES = TopicSettings(prefix="shop.")


class FakeDelivery:
    """Keeps what is sent; confirms at once, or holds back, or breaks at the nth record."""

    def __init__(self, *, confirm: bool = True, breaks_at: int | None = None) -> None:
        self.sent: list[dict[str, Any]] = []
        self.held: list[Callable[[], None]] = []
        self.flushed = 0
        self._confirm = confirm
        self._breaks_at = breaks_at

    def send(self, topic: str, value: bytes | None, key: bytes | None = None, **rest: Any) -> None:
        if len(self.sent) == self._breaks_at:
            raise KeyboardInterrupt
        self.sent.append({"topic": topic, "value": value, "key": key, **rest})
        if rest.get("on_delivered"):
            rest["on_delivered"]() if self._confirm else self.held.append(rest["on_delivered"])

    def partitions(self, topic: str) -> int:
        assert topic == "shop.ticks"
        return 2

    def flush(self, timeout_s: float) -> None:
        self.flushed += 1

    @property
    def events(self) -> list[EventRecord]:
        rows = [row for row in self.sent if row["topic"] in ("shop.clicks", "shop.browses")]
        return [codec.decode(row["value"], EventRecord) for row in rows]

    @property
    def ticks(self) -> list[tuple[int, int]]:
        rows = [row for row in self.sent if row["topic"] == "shop.ticks"]
        return [(row["partition"], codec.decode(row["value"], Tick).time) for row in rows]


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 100.0
        self.naps: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps.append(round(seconds, 6))
        self.now += seconds


def log(*times: int, kinds: tuple[str, ...] = ("view", "cart_add")) -> EventLog:
    rows = {
        "kind": [kinds[n % len(kinds)] for n in range(len(times))],
        "session_id": [f"s{n % 2}" for n in range(len(times))],
        "time": list(times),
        "item_id": [f"i{n}" for n in range(len(times))],
        "price": [None if n % 2 else 9.5 for n in range(len(times))],
        "_row": list(range(len(times))),
    }
    return EventLog("shop", pl.DataFrame(rows))


def replayed(source: Any, delivery: FakeDelivery, speed: str = "max", **options: Any) -> tuple[Progress, Clock]:
    clock = Clock()
    run = Replay(source, delivery, NAMES, Pace.parse(speed), clock=clock, sleep=clock.sleep, **options)  # type: ignore[arg-type]
    return run.run(), clock


def test_each_row_becomes_its_event_on_its_topic_in_order() -> None:
    delivery = FakeDelivery()
    progress, _ = replayed(log(T, T + 5, T + 9), delivery, ticks=False)
    assert [(row["topic"], row["key"]) for row in delivery.sent] == [
        ("shop.browses", b"s0"),
        ("shop.clicks", b"s1"),
        ("shop.browses", b"s0"),
    ]
    assert delivery.events[0] == EventRecord(kind="view", session_id="s0", time=T, item_id="i0", price=9.5)
    assert delivery.events[1].price is None
    assert (progress.sent, progress.ticks, progress.at, delivery.flushed) == (3, 0, T + 9, 1)


def test_spacing_is_kept_and_scaled() -> None:
    _, clock = replayed(log(T, T + 1000, T + 1000, T + 4000), FakeDelivery(), "2")
    assert clock.naps == [0.5, 1.5]


def test_a_rate_is_an_open_loop() -> None:
    """What a slow moment has delayed is made up for: the clock says what is due, not the record before."""
    delivery, clock = FakeDelivery(), Clock()

    def slow_first(seconds: float) -> None:
        clock.sleep(seconds if clock.naps else seconds + 0.25)

    run = Replay(log(*range(T, T + 6)), delivery, NAMES, Pace.parse("10/s"), clock=clock, sleep=slow_first)  # type: ignore[arg-type]
    progress = run.run()
    assert clock.naps == [0.35, 0.05, 0.1]
    assert progress.behind_s_max == pytest.approx(0.25)


def test_ticks_come_before_the_event_on_every_partition() -> None:
    delivery = FakeDelivery()
    progress, _ = replayed(log(T + 10, T + 2500), delivery, "60")
    assert delivery.ticks == [(p, T + s * 1000) for s in (0, 1, 2) for p in (0, 1)]
    assert [row["topic"].removeprefix("shop.") for row in delivery.sent] == [
        *["ticks"] * 2,
        "browses",
        *["ticks"] * 4,
        "clicks",
    ]
    assert progress.ticks == 3


def test_a_row_that_no_worker_would_take_is_told_and_left_out(tmp_path: Path) -> None:
    told: list[InputError] = []
    frame = pl.DataFrame({"kind": ["view", "view"], "session_id": ["s", "s"], "time": [T, T], "item_id": [None, "i"]})
    source, delivery = EventLog("shop", frame, told.append), FakeDelivery()
    position = PositionFile(tmp_path / "at", {})
    replayed(source, delivery, position=position)
    assert (source.refused, len(told), len(delivery.events)) == (1, 1, 1)
    assert position.load() == 2


def test_after_a_stop_the_rest_follows_and_nothing_twice(tmp_path: Path) -> None:
    source, position = log(*range(T, T + 10)), PositionFile(tmp_path / "at", {})
    first, second = FakeDelivery(breaks_at=4), FakeDelivery()
    with pytest.raises(KeyboardInterrupt):
        replayed(source, first, ticks=False, position=position)
    assert first.flushed == 1
    progress, _ = replayed(source, second, ticks=False, position=position)
    assert [event.item_id for event in first.events + second.events] == [f"i{n}" for n in range(10)]
    assert (progress.skipped, progress.sent) == (4, 6)


def test_what_was_not_confirmed_is_sent_again(tmp_path: Path) -> None:
    source, position = log(*range(T, T + 4)), PositionFile(tmp_path / "at", {})
    delivery = FakeDelivery(confirm=False)

    def lost(timeout_s: float) -> None:
        for confirm in (delivery.held[0], delivery.held[2]):
            confirm()
        raise DeliveryError("one was lost", topic="t", key=None)

    delivery.flush = lost  # type: ignore[method-assign]
    with pytest.raises(DeliveryError):
        replayed(source, delivery, ticks=False, position=position)
    assert position.load() == 1


def test_a_resumed_replay_waits_from_its_own_first_record(tmp_path: Path) -> None:
    position = PositionFile(tmp_path / "at", {})
    position.save(2)
    _, clock = replayed(log(T, T + 60_000, T + 90_000, T + 91_000), FakeDelivery(), "1", position=position)
    assert clock.naps == [1.0]


def captured(tmp_path: Path, *records: Captured) -> Path:
    with CaptureWriter(tmp_path / "log") as file:
        for record in records:
            file.write(record)
    return tmp_path / "log"


def row(topic: str, at: int, value: bytes | None, partition: int = 0, key: bytes | None = b"k") -> Captured:
    return Captured(topic, partition, 0, at, key, value, [("v", b"1")])


def test_a_capture_goes_by_the_time_of_sending_and_keeps_bytes_and_placed_partitions(tmp_path: Path) -> None:
    event = codec.encode(EventRecord(kind="exit", session_id="k", time=T))
    path = captured(
        tmp_path,
        row("browses", T + 2000, event, 1),
        row("browses", T + 2001, b"\xc1", 1),
        row("ticks", T + 1000, b"tick", 1, None),
        row("learned", T + 3000, b"learned", 1, None),
        row("catalogue", T, None),
    )
    delivery = FakeDelivery()
    _, clock = replayed(CaptureLog(path), delivery, "1")
    assert [(r["topic"], r["value"], r["key"], r["partition"], r["headers"]) for r in delivery.sent] == [
        ("shop.catalogue", None, b"k", None, [("v", b"1")]),
        ("shop.ticks", b"tick", None, 1, [("v", b"1")]),
        ("shop.browses", event, b"k", None, [("v", b"1")]),
        ("shop.browses", b"\xc1", b"k", None, [("v", b"1")]),
        ("shop.learned", b"learned", None, 1, [("v", b"1")]),
    ]
    assert clock.naps == [1.0, 1.0, 0.001, 0.999]


def test_ticks_are_made_for_a_capture_without_them_by_the_events_own_time(tmp_path: Path) -> None:
    event = codec.encode(EventRecord(kind="exit", session_id="k", time=T + 500))
    path = captured(tmp_path, row("browses", 5, event), row("clicks", 6, b"\xc1"), row("catalogue", 7, None))
    delivery = FakeDelivery()
    replayed(CaptureLog(path), delivery)
    assert delivery.ticks == [(0, T), (1, T)]


def test_a_part_of_a_capture(tmp_path: Path) -> None:
    path = captured(tmp_path, *[row("catalogue", T + n, b"%d" % n) for n in range(10)])
    source = CaptureLog(path, since=T + 3, limit=4)
    assert [record.value for record in source.records(1)] == [b"4", b"5", b"6"]
    assert len(source) == 4

"""Stands in for kafka-python's producer: records what is sent, answers when told to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from kafka.errors import KafkaError


class FakeFuture:
    """Answers its callbacks once, at once if it is answered already."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[Any], None]] = []
        self._errbacks: list[Callable[[BaseException], None]] = []

    def add_callback(self, callback: Callable[[Any], None]) -> None:
        self._callbacks.append(callback)

    def add_errback(self, errback: Callable[[BaseException], None]) -> None:
        self._errbacks.append(errback)

    def confirm(self) -> None:
        for callback in self._callbacks:
            callback(None)

    def fail(self, error: BaseException) -> None:
        for errback in self._errbacks:
            errback(error)


class FakeKafka:
    """One connection. `answer` decides on each record: "later", or "now", or an error to fail with."""

    made: ClassVar[list[FakeKafka]] = []
    refuse: ClassVar[KafkaError | None] = None
    answer: ClassVar[str | BaseException] = "now"

    def __init__(self, **options: Any) -> None:
        if FakeKafka.refuse is not None:
            raise FakeKafka.refuse
        self.options = options
        self.sent: list[dict[str, Any]] = []
        self.futures: list[FakeFuture] = []
        self.closed_with: float | None = None
        self._closed = False
        FakeKafka.made.append(self)

    def send(self, topic: str, **record: Any) -> FakeFuture:
        if isinstance(FakeKafka.answer, ValueError):
            raise FakeKafka.answer
        self.sent.append({"topic": topic, **record})
        future = _AnsweredFuture() if FakeKafka.answer != "later" else FakeFuture()
        self.futures.append(future)
        return future

    def partitions_for(self, topic: str) -> set[int]:
        return {0, 1}

    def close(self, timeout: float) -> None:
        self.closed_with = timeout


class _AnsweredFuture(FakeFuture):
    def add_callback(self, callback: Callable[[Any], None]) -> None:
        if FakeKafka.answer == "now":
            callback(None)

    def add_errback(self, errback: Callable[[BaseException], None]) -> None:
        if isinstance(FakeKafka.answer, BaseException):
            errback(FakeKafka.answer)

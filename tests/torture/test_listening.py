"""The consumer under torture is not ended before it gave out what stands on the topic."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from streaming.settings import Settings
from streaming.torture import listening
from streaming.torture.listening import Listener


class Away:
    """A consumer that finds its broker again after a while."""

    def __init__(self, _settings: Settings, *, start: str) -> None:
        self.there, self.over = threading.Event(), threading.Event()

    def __iter__(self) -> Iterator[Any]:
        self.there.wait()
        yield from (SimpleNamespace(prediction_id=each) for each in ("one", "last"))
        self.over.wait()

    def stop(self) -> None:
        self.there.set()
        self.over.set()

    def close(self) -> None:
        pass


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Listener:
    monkeypatch.setattr(listening, "PredictionConsumer", Away)
    monkeypatch.setattr(listening, "QUIET_S", 0.05)
    made = Listener(Settings())
    made.start()
    return made


def test_it_is_waited_for_however_quiet_it_is(listener: Listener) -> None:
    threading.Timer(0.5, listener._consumer.there.set).start()  # type: ignore[attr-defined]
    listener.finish({"last"}, 30)
    assert listener.given == {"one": 1, "last": 1}
    assert not listener.is_alive()


def test_not_for_ever(listener: Listener) -> None:
    begun = time.monotonic()
    listener.finish({"another"}, 0.3)
    assert 0.3 <= time.monotonic() - begun < 10

"""What people see of the demo while it runs: predictions as they arrive, at a speed that can be read."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from threading import Thread

from rich.console import Console
from rich.text import Text

from streaming.consumer import PredictionConsumer
from streaming.delivery import Delivery
from streaming.errors import BeforehandError
from streaming.records import Prediction
from streaming.settings import Settings

SHOWN_PER_S = 4.0
"""Predictions printed a second, of three lines each; all are counted."""
_SHOWN_ITEMS = 3
_TITLE_CHARS = 34
_JOIN_S = 20.0


class TimedDelivery(Delivery):
    """Notes when each event was handed over, in the order of the log."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.sent_at: list[float] = []
        """`time.perf_counter()` of each record with a key: of each event."""

    def send(self, topic: str, value: bytes | None, key: bytes | None = None, **options: object) -> None:
        if key is not None:
            self.sent_at.append(time.perf_counter())
        super().send(topic, value, key, **options)  # type: ignore[arg-type]


class Show(Thread):
    """Reads predictions in a thread, notes when each arrived, and prints some of them."""

    def __init__(
        self,
        settings: Settings,
        console: Console,
        titles: Mapping[str, str],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__(name="predictions", daemon=True)
        self.arrived: dict[str, float] = {}
        """When each prediction came, by its id."""
        self.trouble: BeforehandError | None = None
        """What ended the reading, if anything did."""
        self._consumer = PredictionConsumer(settings, start="beginning", clock="record")
        self._console = console
        self._titles = titles
        self._clock = clock
        self._next_shown = 0.0

    def run(self) -> None:
        try:
            with self._consumer as predictions:
                for prediction in predictions:
                    now = self._clock()
                    self.arrived[prediction.prediction_id] = now
                    if prediction.items and now >= self._next_shown:
                        self._next_shown = now + 1 / SHOWN_PER_S
                        self._console.print(described(prediction, self._titles), soft_wrap=True)
        except BeforehandError as exc:
            self.trouble = exc

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._consumer.stop()
        if self.is_alive():
            self.join(_JOIN_S)


def described(prediction: Prediction, titles: Mapping[str, str]) -> Text:
    """A prediction for people: when, who, why now; the best items; the reason of the first that has one.

    >>> from streaming.records import IndexVersion, Offer, Reason
    >>> reason = Reason(code="together", sentence="Others chose it along with Tea, which you bought.", items=["t"])
    >>> print(described(Prediction(
    ...     prediction_id="p", session_id="3fa9c1d2", trigger="cold_start", items=[Offer("m", 0.7183, [reason])],
    ...     model="m", index=IndexVersion("s"), level="full", arm="treatment",
    ...     event_time=1509494460000, made_at=0, expires_at=0), {"m": "Mug"}))
    2017-11-01 00:01:00  visitor 3fa9c1  cold_start
        Mug .72
        Mug: Others chose it along with Tea, which you bought.
    """
    when = datetime.fromtimestamp(prediction.event_time / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    text = Text.assemble(
        (when, "dim"), "  visitor ", (prediction.session_id[:6], "bold cyan"), "  ", (prediction.trigger, "magenta")
    )
    text.append("\n    ")
    for place, offer in enumerate(prediction.items[:_SHOWN_ITEMS]):
        if place:
            text.append("  ·  ", "dim")
        text.append(_name(offer.item_id, titles), "bold" if place == 0 else "")
        text.append(f" {offer.score:.2f}".replace(" 0.", " ."), "green")
    for offer in prediction.items:
        if offer.reasons:
            text.append(f"\n    {_name(offer.item_id, titles)}: {offer.reasons[0].sentence}", "dim italic")
            break
    return text


def _name(item_id: str, titles: Mapping[str, str]) -> str:
    title = titles.get(item_id, f"item {item_id}")
    return title if len(title) <= _TITLE_CHARS else title[: _TITLE_CHARS - 1].rstrip(" ,") + "…"

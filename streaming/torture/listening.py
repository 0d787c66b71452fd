"""The consumer under torture: the product's own, in a thread, slow or stuck at times."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Set

from streaming.consumer import PredictionConsumer
from streaming.errors import BrokerError
from streaming.settings import Settings

logger = logging.getLogger(__name__)

QUIET_S = 3.0


class Listener(threading.Thread):
    """Counts what `PredictionConsumer` gives out, from the beginning of the topic."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(name="torture-consumer", daemon=True)
        self.given: Counter[str] = Counter()
        """By id."""
        self.slow_s = 0.0
        """What it takes for each prediction."""
        self._consumer = PredictionConsumer(settings, start="beginning")
        self._free = threading.Event()
        self._free.set()
        self._over = threading.Event()
        self._last = time.monotonic()

    def run(self) -> None:
        while not self._over.is_set():
            try:
                for prediction in self._consumer:
                    self.given[prediction.prediction_id] += 1
                    self._last = time.monotonic()
                    time.sleep(self.slow_s)
                    self._free.wait()
            except BrokerError as exc:
                logger.info("the consumer: %s", exc)
                time.sleep(1)

    def stuck(self, seconds: float) -> None:
        """Takes nothing for a while."""
        self._free.clear()
        time.sleep(seconds)
        self._free.set()

    def finish(self, awaited: Set[str], patience_s: float) -> None:
        """Ends it once these have come and then nothing for a moment, or its time is up."""
        end = time.monotonic() + patience_s
        while time.monotonic() < end and (time.monotonic() - self._last < QUIET_S or not awaited <= self.given.keys()):
            time.sleep(0.2)
        self._over.set()
        self._consumer.stop()
        self.join(30)
        self._consumer.close()

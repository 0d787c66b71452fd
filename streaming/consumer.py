"""What a shop's front uses to learn what its visitors will want.

from streaming import PredictionConsumer

for prediction in PredictionConsumer(group="home-page"):
    show(prediction.session_id, prediction.items)     # no items: show nothing any more
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Literal

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import CommitFailedError, KafkaError, RebalanceInProgressError
from kafka.structs import OffsetAndMetadata

from streaming import codec, connections, topics
from streaming.codec import DecodeError
from streaming.errors import BrokerError, InputError
from streaming.ledger import Ledger
from streaming.producer import wall_ms
from streaming.records import Prediction
from streaming.settings import Settings
from streaming.tail import KafkaRecord, Start, no_answer

logger = logging.getLogger(__name__)

Clock = Literal["wall", "record"]

_POLL_MS = 200
_COMMIT_S = 5.0
_PARTING_S = 5.0
"""How long a group that is being divided anew is waited for, so that what was read is committed."""


class PredictionConsumer:
    """Iterates over the predictions that hold: not a repeat, not over, not replaced or withdrawn by a later one.

    What comes out is what a visitor should be shown now. The last prediction of a session is the one to show; one
    without items says to take down what its `cancels` and `supersedes` name. A prediction that is withdrawn while it
    is on show is named by a later one in the same way; `holds` answers at any time.

    At least once: with a group, the offset of a prediction is committed after the loop has come back for the next one,
    every 5 s and at the end. After a crash, or when the group shares its partitions anew, some come again; those that
    this process has seen are dropped by their id. What cannot be read is counted, logged and skipped.

    One thread iterates; `stop` may be called from any.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        group: str | None = None,
        start: Start = "end",
        clock: Clock = "wall",
        idle_s: float | None = None,
        now: Callable[[], int] = wall_ms,
    ) -> None:
        """Settings by default come from the environment. Connects when the iteration begins.

        `group`: members of one group share the predictions and go on where it stopped. Without, this one reads all.
        `start`: where a reader without a group, or a group without a past, begins.
        `clock`: what expiry is judged by; `wall` asks `now` (ms since the epoch), `record` takes the newest event time
        seen, for replays of the past.
        `idle_s`: end the iteration after so long without a record; by default it goes on for ever.

        Raises:
            InputError: a variable has a value that its setting refuses.
        """
        self._settings = settings or Settings.from_environment()
        self._topic = self._settings.topics.prefix + topics.PREDICTIONS.name
        self._group = group
        self._start = start
        self._clock = clock
        self._idle_s = idle_s
        self._now = now
        self._newest = 0
        self._stopping = threading.Event()
        self._kafka: KafkaConsumer | None = None
        self._read: deque[tuple[KafkaRecord, Prediction | None]] = deque()  # not given out yet
        self._done: dict[TopicPartition, int] = {}  # what may be committed: the next offset to read
        self._committed_at = 0.0
        self.ledger = Ledger()
        """What was seen; its counters tell of repeats, expired and withdrawn predictions."""
        self.unreadable = 0
        """Records on the topic that are no prediction."""

    def holds(self, prediction_id: str) -> bool:
        """Whether a prediction that came out of this may still be shown."""
        return self.ledger.holds(prediction_id, self._time())

    def stop(self) -> None:
        """End the iteration soon. From any thread."""
        self._stopping.set()

    def close(self) -> None:
        """Commit what the loop is done with, then part from the broker. Stop another thread's loop first."""
        self._stopping.set()
        kafka, self._kafka = self._kafka, None
        if kafka is not None:
            until = time.monotonic() + _PARTING_S
            while not self._commit(kafka) and time.monotonic() < until:
                kafka.poll(_POLL_MS)  # has the group come to rest; what it brings is not committed, and comes again
            kafka.close(autocommit=False, timeout_ms=5000)

    def __enter__(self) -> PredictionConsumer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Prediction]:
        """Predictions until `stop`, or `idle_s` of silence. Leaving the loop early loses nothing: iterate again.

        Raises:
            InputError: the topic is not there.
            BrokerError: no broker answers, or one refuses this reader.
        """
        try:
            yield from self._predictions(self._connected())
        except KafkaError as exc:
            raise BrokerError(f"reading {self._topic} stopped: {exc}; iterate again when the broker answers") from exc

    def _predictions(self, kafka: KafkaConsumer) -> Iterator[Prediction]:
        heard = time.monotonic()
        while not self._stopping.is_set():
            if not self._read:
                batch = [record for records in kafka.poll(_POLL_MS).values() for record in records]
                # The whole batch first, so that nothing is given out that its own batch withdraws.
                self._read.extend((record, self._accept(record)) for record in batch)
                if batch:
                    heard = time.monotonic()
                elif self._idle_s is not None and time.monotonic() - heard > self._idle_s:
                    break
            while self._read and not self._stopping.is_set():
                record, prediction = self._read.popleft()
                if prediction is not None and self.holds(prediction.prediction_id):
                    yield prediction
                self._done[TopicPartition(record.topic, record.partition)] = record.offset + 1
            if time.monotonic() - self._committed_at > _COMMIT_S:
                self._commit(kafka)
        self._commit(kafka)

    def _accept(self, record: KafkaRecord) -> Prediction | None:
        """The prediction in a record where it is new and holds; counts what it is not."""
        try:
            prediction = codec.decode(record.value, Prediction)
        except DecodeError as exc:
            self.unreadable += 1
            logger.warning("skipped %s[%d]@%d: %s", record.topic, record.partition, record.offset, exc)
            return None
        self._newest = max(self._newest, prediction.event_time)
        return prediction if self.ledger.accept(prediction, self._time()) else None

    def _time(self) -> int:
        return self._now() if self._clock == "wall" else self._newest

    def _connected(self) -> KafkaConsumer:
        if self._kafka is not None:
            return self._kafka
        try:
            kafka = KafkaConsumer(
                **connections.kafka_python(self._settings),
                group_id=self._group,
                enable_auto_commit=False,
                allow_auto_create_topics=False,
                auto_offset_reset="earliest" if self._start == "beginning" else "latest",
                session_timeout_ms=int(self._settings.broker.session_timeout_s * 1000),
                heartbeat_interval_ms=int(self._settings.broker.heartbeat_s * 1000),
                bootstrap_timeout_ms=10_000,
            )
        except KafkaError as exc:
            raise no_answer(self._settings, exc) from exc
        found = kafka.partitions_for_topic(self._topic)
        if not found:
            kafka.close(autocommit=False)
            raise InputError(f"topic {self._topic} is not there; `beforehand topics create` makes it")
        if self._group is not None:
            kafka.subscribe([self._topic])
        else:
            partitions = [TopicPartition(self._topic, number) for number in sorted(found)]
            kafka.assign(partitions)
            (kafka.seek_to_beginning if self._start == "beginning" else kafka.seek_to_end)(*partitions)
        self._kafka = kafka
        self._committed_at = time.monotonic()
        return kafka

    def _commit(self, kafka: KafkaConsumer) -> bool:
        """What other members took over meanwhile is theirs to commit: they read it again.

        Returns:
            False: the group is being divided anew, so that it has to be tried again.
        """
        self._committed_at = time.monotonic()
        if self._group is None:
            return True
        mine = kafka.assignment()
        offsets = {one: OffsetAndMetadata(offset, "", -1) for one, offset in self._done.items() if one in mine}
        done, self._done = self._done, {}
        if not offsets:
            return True
        try:
            kafka.commit(offsets, timeout_ms=5000)
        except RebalanceInProgressError:
            self._done = done
            return False
        except (CommitFailedError, KafkaError) as exc:
            logger.warning(
                "offsets of %s were not committed, so some predictions will come again: %s", self._topic, exc
            )
        return True

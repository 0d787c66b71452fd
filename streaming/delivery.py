"""Bytes into Kafka, and an answer for each: what all our clients that write share.

kafka-python answers through futures that nobody need look at. Here every record is counted until the broker has
confirmed or refused it, failures wait for the next `flush`, and what waits is bounded.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence

from kafka import KafkaProducer
from kafka.errors import KafkaError, MessageSizeTooLargeError

from streaming import codec, connections, topics
from streaming.codec import DecodeError
from streaming.errors import BrokerError, DeliveryError, InputError
from streaming.records import Record
from streaming.settings import Settings

logger = logging.getLogger(__name__)

MAX_WAITING_BYTES = 64 * 1024 * 1024
"""What may wait for the broker's answer before `send` itself waits."""
FAILURES_KEPT = 10
"""Failures that `flush` names one by one."""
_LINGER_MS = 5
_BATCH_BYTES = 64 * 1024
_RECORD_OVERHEAD = 1024
_RECONNECT_S = 1.0

OnError = Callable[[DeliveryError], None]


class Delivery:
    """One connection to Kafka for writing. Thread-safe; connects at the first `send`.

    Idempotent with acks=all, so that a retry inside the client writes no record twice; where `settings.broker.fence`
    is off, plain acks=all: then such a retry may. After a fork the child has nothing waiting and connects anew at its
    next `send`; what waited stays the parent's. At a normal end of the interpreter what waits is flushed; a child of
    `multiprocessing` ends without that, and has to call `close`.
    """

    def __init__(self, settings: Settings, *, on_error: OnError | None = None, block_s: float = 5.0) -> None:
        """`on_error` hears of each record that was not accepted, on the sending thread: it must not block.
        `block_s`: how long `send` may wait, for a first connection, for a topic's partitions, or for room."""
        self._settings = settings
        self._on_error = on_error
        self._block_s = block_s
        self._closed = False
        self.delivered = 0
        """Records that the broker confirmed, in this process."""
        self.failed = 0
        """Records that the broker refused, or did not confirm in time."""
        self._begin()
        _ALIVE.add(self)

    def _begin(self) -> None:
        """The state of a process that has sent nothing yet."""
        self._connecting = threading.Lock()
        self._changed = threading.Condition()
        self._kafka: KafkaProducer | None = None
        self._refused: tuple[float, BrokerError] | None = None
        self._sent = 0
        self._waiting: OrderedDict[int, int] = OrderedDict()  # number -> bytes, oldest first
        self._waiting_bytes = 0
        self._failures: list[DeliveryError] = []
        self._failures_left_out = 0
        self.delivered = self.failed = 0

    @property
    def waiting(self) -> int:
        """Records that the broker has not answered for yet."""
        return len(self._waiting)

    def send(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        *,
        headers: Sequence[tuple[str, bytes]] = (),
        partition: int | None = None,
        timestamp: int | None = None,
        on_delivered: Callable[[], None] | None = None,
    ) -> None:
        """Hand over one record; returns before it is delivered. Order is kept within a partition.

        `topic` is whole, with its prefix. Without a partition the key decides, as in every Kafka client.
        `on_delivered` runs on the sending thread.

        Raises:
            InputError: the record is above 2 MiB, or there is no such partition, or this is closed.
            BrokerError: no broker answers, or it does not know the topic, or too much waits already.
        """
        size = len(value or b"") + len(key or b"")
        if size > topics.MAX_RECORD_BYTES:
            raise InputError(
                f"a record of {size} bytes for {topic}, expected at most {topics.MAX_RECORD_BYTES}; send less of it"
            )
        if self._closed:
            raise InputError(f"a record for {topic} after close; make a new producer")
        kafka = self._connected()
        number = self._admit(size)
        try:
            future = kafka.send(
                topic,
                value=value,
                key=key,
                headers=list(headers),
                partition=partition,
                timestamp_ms=timestamp,
            )
        except MessageSizeTooLargeError as exc:
            self._answered(number)
            raise InputError(f"{exc}; send less of it") from exc
        except (KafkaError, ValueError) as exc:
            self._answered(number)
            raise self._not_taken(topic, exc) from exc
        except BaseException:
            self._answered(number)
            raise
        future.add_callback(lambda _: self._confirmed(number, on_delivered))
        future.add_errback(lambda exc: self._lost(number, topic, key, exc))

    def partitions(self, topic: str) -> int:
        """How many partitions the topic has.

        Raises:
            BrokerError: no broker answers, or it does not know the topic.
        """
        try:
            return len(self._connected().partitions_for(topic))
        except KafkaError as exc:
            raise self._not_taken(topic, exc) from exc

    def flush(self, timeout_s: float = 30.0) -> None:
        """Wait until everything sent before this call is answered for.

        Raises:
            DeliveryError: since the last flush something was refused, or something is unanswered after `timeout_s`
                (it may still arrive). The text names what; `topic` and `key` are those of the first.
        """
        with self._changed:
            last = self._sent
            in_time = self._changed.wait_for(lambda: self._oldest() > last, timeout_s)
            failures, self._failures = self._failures, []
            more, self._failures_left_out = self._failures_left_out, 0
            late = sum(number <= last for number in self._waiting) if not in_time else 0
        if not failures and not late:
            return
        parts = (
            [f"{len(failures) + more} records were not accepted: {'; '.join(map(str, failures))}"] if failures else []
        )
        parts += [f"and {more} more"] if more else []
        parts += [f"{late} records are unanswered after {timeout_s:g} s, and may still arrive"] if late else []
        first = failures[0] if failures else None
        raise DeliveryError(
            "; ".join(parts), topic=first.topic if first else "", key=first.key if first else None
        ) from first

    def close(self, timeout_s: float = 30.0) -> None:
        """Flush, then part from the broker. Later calls do nothing.

        Raises:
            DeliveryError: as `flush` does; closed all the same.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self.flush(timeout_s)
        finally:
            kafka, self._kafka = self._kafka, None
            if kafka is not None:
                kafka.close(timeout=1)

    # ------------------------------------------------------------------------------------------ connection
    def _connected(self) -> KafkaProducer:
        kafka = self._kafka
        if kafka is not None:
            return kafka
        with self._connecting:
            if self._kafka is not None:
                return self._kafka
            if self._refused is not None and time.monotonic() < self._refused[0]:
                raise self._refused[1]  # do not let every thread of a site wait in turn for a broker that is down
            try:
                self._kafka = KafkaProducer(**self._options())
            except KafkaError as exc:
                error = BrokerError(
                    f"no answer from {','.join(self._settings.brokers)} in {self._block_s:g} s ({exc}); is Kafka"
                    " running there, and are --brokers or BEFOREHAND_BROKERS and the SASL and TLS settings right?"
                )
                self._refused = time.monotonic() + _RECONNECT_S, error
                raise error from exc
            _flush_first_at_exit()
            return self._kafka

    def _options(self) -> dict[str, object]:
        block_ms = int(self._block_s * 1000)
        return {
            **connections.kafka_python(self._settings),
            "acks": "all",
            "enable_idempotence": self._settings.broker.fence,
            "allow_auto_create_topics": False,  # with the wrong number of partitions
            "bootstrap_timeout_ms": block_ms,
            "max_block_ms": block_ms,
            "request_timeout_ms": 30_000,
            "delivery_timeout_ms": 120_000,
            "linger_ms": _LINGER_MS,
            "batch_size": _BATCH_BYTES,
            "max_request_size": topics.MAX_RECORD_BYTES + _RECORD_OVERHEAD,
        }

    def _not_taken(self, topic: str, cause: Exception) -> BrokerError | InputError:
        if isinstance(cause, ValueError):
            return InputError(f"{cause}; `beforehand topics create` makes the topics with all their partitions")
        return BrokerError(
            f"no partitions of {topic} known after {self._block_s:g} s ({cause}); either no broker answers, or the"
            " topic is not there: `beforehand topics create` makes it"
        )

    # ---------------------------------------------------------------------------------------- book-keeping
    def _admit(self, size: int) -> int:
        """A number for a record that now waits; waits itself until there is room."""
        with self._changed:
            room = self._changed.wait_for(
                lambda: self._waiting_bytes + size <= MAX_WAITING_BYTES or not self._waiting, self._block_s
            )
            if not room:
                raise BrokerError(
                    f"{len(self._waiting)} records of {self._waiting_bytes} bytes wait for the broker's answer, and"
                    f" none came in {self._block_s:g} s; this record was not taken, send it again later"
                )
            self._sent += 1
            self._waiting[self._sent] = size
            self._waiting_bytes += size
            return self._sent

    def _oldest(self) -> int:
        return next(iter(self._waiting), self._sent + 1)

    def _answered(self, number: int, *, delivered: int = 0, failure: DeliveryError | None = None) -> None:
        with self._changed:
            self.delivered += delivered
            if failure is not None:
                self.failed += 1
                if len(self._failures) < FAILURES_KEPT:
                    self._failures.append(failure)
                else:
                    self._failures_left_out += 1
            self._waiting_bytes -= self._waiting.pop(number)
            self._changed.notify_all()

    def _confirmed(self, number: int, on_delivered: Callable[[], None] | None) -> None:
        try:
            if on_delivered is not None:
                on_delivered()
        finally:
            self._answered(number, delivered=1)

    def _lost(self, number: int, topic: str, key: bytes | None, cause: BaseException) -> None:
        error = DeliveryError(f"topic {topic}, key {key!r}: {cause}", topic=topic, key=key)
        error.__cause__ = cause
        try:
            if self._on_error is not None:
                self._on_error(error)
        except Exception:
            logger.exception("on_error itself failed on: %s", error)
        finally:
            self._answered(number, failure=error)

    # ------------------------------------------------------------------------------------------------ fork
    def _forget_parent(self) -> None:
        """In a new child: leave the parent's connection alone, and start with nothing."""
        if self._kafka is not None:
            # Neither its destructor nor its own hook at exit may touch sockets that the parent goes on using; that
            # thread which would answer a flush is not in this process.
            self._kafka._closed = True
            _OF_PARENTS.append(self._kafka)
        self._begin()


def validated(record: Record) -> bytes:
    """The record's bytes, after its reader's own checks of types, bounds and size.

    Raises:
        InputError: a reader would refuse it.
    """
    try:
        value = codec.encode(record)
        codec.decode(value, type(record))
    except DecodeError as exc:
        raise InputError(str(exc)) from exc
    except (TypeError, OverflowError) as exc:
        raise InputError(
            f"{type(record).__name__} cannot be encoded ({exc}); docs/wire.md has the types of its fields"
        ) from exc
    if len(value) > topics.MAX_VALUE_BYTES:
        raise InputError(
            f"{type(record).__name__} of {len(value)} bytes, expected at most {topics.MAX_VALUE_BYTES}; send less text"
        )
    return value


_ALIVE: weakref.WeakSet[Delivery] = weakref.WeakSet()
_OF_PARENTS: list[KafkaProducer] = []
"""Connections that belong to a parent process, kept so that nothing collects and closes them."""


def _flush_first_at_exit() -> None:
    """Hooks at exit run last registered first, and kafka-python's own gives up after a second: go before it."""
    atexit.unregister(_close_all)
    atexit.register(_close_all)


def _close_all() -> None:
    for delivery in list(_ALIVE):
        try:
            delivery.close(timeout_s=10)
        except DeliveryError as exc:
            logger.error("at exit: %s", exc)


def _forget_parents() -> None:
    for delivery in list(_ALIVE):
        delivery._forget_parent()


os.register_at_fork(after_in_child=_forget_parents)

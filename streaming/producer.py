"""What a site's back end uses to say what its visitors do.

from streaming import EventProducer

with EventProducer() as producer:
    producer.send(kind="view", session_id="s-81", item_id="B00N1")
"""

from __future__ import annotations

import time as clock
from collections.abc import Callable
from types import TracebackType

from streaming import codec, intake, topics
from streaming.delivery import Delivery, OnError, validated
from streaming.errors import InputError
from streaming.records import CLICK_KINDS, EventRecord, Kind
from streaming.settings import Settings


def wall_ms() -> int:
    """Now, in ms since the epoch, by this machine's clock."""
    return clock.time_ns() // 1_000_000


class EventProducer:
    """Sends events to `clicks` and `browses`, keyed by session. Thread-safe; keep one for the life of the process.

    `send` checks an event by the rules of the worker's own intake and puts it into a batch; it does not wait for the
    broker. Whether events arrived shows at `flush`, at `close`, to `on_error`, and in `delivered` and `failed`.
    Nothing is sent twice by itself, but a site that calls `send` again after an error may: give such events an
    `event_id`, and the repeat is ignored.

    Under a web server that forks (gunicorn, uWSGI), making it before the fork is fine: it connects at the first `send`
    of each process. uWSGI needs `enable-threads`. At the end of a process what waits is flushed for up to 10 s; a
    child of `multiprocessing` ends without that and has to call `close`.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        on_error: OnError | None = None,
        now: Callable[[], int] = wall_ms,
    ) -> None:
        """Settings by default come from the environment (`BEFOREHAND_BROKERS` and the others). Connects to nothing yet.

        `on_error` is called with a `DeliveryError` for each event that was not accepted, on another thread; it must
        not block. `now` gives the time of events that have none, in ms since the epoch.

        Raises:
            InputError: a variable has a value that its setting refuses.
        """
        settings = settings or Settings.from_environment()
        self._prefix = settings.topics.prefix
        self._delivery = Delivery(settings, on_error=on_error)
        self._now = now

    @property
    def delivered(self) -> int:
        """Events that the broker confirmed, in this process."""
        return self._delivery.delivered

    @property
    def failed(self) -> int:
        """Events that the broker refused, or did not confirm within two minutes."""
        return self._delivery.failed

    def send(
        self,
        *,
        kind: Kind,
        session_id: str,
        time: int | None = None,
        user_id: str | None = None,
        item_id: str | None = None,
        query: str | None = None,
        title: str | None = None,
        quantity: int | None = None,
        price: float | None = None,
        currency: str | None = None,
        dwell_ms: int | None = None,
        prediction_id: str | None = None,
        event_id: str | None = None,
        consent: bool | None = None,
        utc_offset_min: int | None = None,
    ) -> None:
        """One event; the fields are those of `streaming.records.EventRecord`. Without `time` it happened now.

        Raises:
            InputError: the event breaks a rule of the wire contract, so that no worker would take it. Nothing was
                sent; the same call fails again.
            BrokerError: no broker answers, or the topics are not there, or too much waits already. Nothing was sent.
        """
        now = self._now()
        event = EventRecord(
            kind=kind,
            session_id=session_id,
            time=now if time is None else time,
            user_id=user_id,
            item_id=item_id,
            query=query,
            title=title,
            quantity=quantity,
            price=price,
            currency=currency,
            dwell_ms=dwell_ms,
            prediction_id=prediction_id,
            event_id=event_id,
            consent=consent,
            utc_offset_min=utc_offset_min,
        )
        value = checked(event)
        if event.time > now + intake.MAX_AHEAD_MS:
            raise InputError(
                f"time {event.time} is {event.time - now} ms in the future, expected at most {intake.MAX_AHEAD_MS};"
                " send ms since the epoch in UTC"
            )
        topic = topics.CLICKS if kind in CLICK_KINDS else topics.BROWSES
        self._delivery.send(self._prefix + topic.name, value, session_id.encode(), headers=codec.HEADERS)

    def flush(self, timeout_s: float = 30.0) -> None:
        """Wait until every event sent before this call is confirmed or refused.

        Raises:
            DeliveryError: since the last flush some were refused, or some are unanswered; the text names them.
        """
        self._delivery.flush(timeout_s)

    def close(self, timeout_s: float = 30.0) -> None:
        """Flush, then part from the broker.

        Raises:
            DeliveryError: as `flush` does; closed all the same.
        """
        self._delivery.close(timeout_s)

    def __enter__(self) -> EventProducer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def checked(event: EventRecord) -> bytes:
    """The event's bytes, after all checks that the worker's intake would make on it.

    Raises:
        InputError: a field is missing, of another type or out of its bounds.
    """
    value = validated(event)
    intake.check(event)
    return value

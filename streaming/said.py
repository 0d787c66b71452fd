"""What a session was told, and what the throttle knows of it: a history of decisions, kept beside its events.

Unlike the rest of a session's state this is no function of the set of its events: it depends on the order in which
they were decided. It is a value all the same; every function here returns a new one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from xxhash import xxh3_64_digest

from streaming import bloom
from streaming.records import Outcome, Prediction, Trigger

DAY_MS = 86_400_000
TRIGGERS: Final[tuple[Trigger, ...]] = (
    "exit_intent",
    "cart_idle",
    "cold_start",
    "next_item",
    "repeat_interest",
    "intent_shift",
    "price_drop",
    "back_in_stock",
)
"""All there are. A trigger's place is its number in the state: new ones go to the end."""
BECAME = ("view", "click", "cart_add", "purchase")
"""Kinds that count as taking an offer up."""

OFFERED_BYTES = 64
"""Of the set of items in the last prediction, at most; 6 bytes an item below that."""
TOLD_BYTES = 56
"""Of each of the three sets of items within the cool-down."""
GENERATIONS = 3
ONCE_BYTES = 32
"""Of the set of what is said once: with 20 things said, one in 200 others is never said at all."""
PREDICTIONS = 12
"""Predictions whose outcome is kept, at most."""
PREDICTIONS_LEAST = 3
"""Those that always find room."""
MOST = 2**32 - 1
"""Where the counters stop."""

_ONE = struct.Struct("<16sBH")
_TRIGGERED = struct.Struct(f"<{len(TRIGGERS)}I")
ALWAYS_FIT = PREDICTIONS_LEAST * _ONE.size
"""Bytes of them."""
_HELD = 0x80
_TAKEN_BITS = 4
_TAKEN = 2**_TAKEN_BITS - 1


class Said(Struct, array_like=True, frozen=True, gc=False):
    """All that is kept. Times are ms since the epoch; 0 is never."""

    predictions: bytes = b""
    """The newest predictions, the last one at the end, 19 bytes each: id (16), number of the trigger and a high bit
    for `held` (1), events on its items by place in BECAME, 4 bits each (2)."""
    sent_at: int = 0
    expires_at: int = 0
    """Of the last prediction; 0 once it was withdrawn."""
    held: bool = False
    """The last one was held back for the hold-out: the throttle moved, but nobody has it."""
    head: bytes = b""
    """Tag of the item that led the ranking then."""
    offered: bytes = b""
    """Bloom filter of the last prediction's items."""
    told: tuple[bytes, ...] = ()
    """Bloom filters of the items sent, by half cool-downs, newest first."""
    told_at: int = 0
    """When the newest of them began."""
    triggered: bytes = b""
    """When each trigger last sent, by its place in TRIGGERS: 1 and the ms before `sent_at`, 4 bytes each; 0: never."""
    idle: int = 0
    """Due time of the last idle spell with a cart that was dealt with."""
    day: int = 0
    """Day number since the epoch, in the visitor's time zone, that `today` counts."""
    today: int = 0
    sent: int = 0
    """Predictions sent in all; the hold-out's are not."""
    became: tuple[int, ...] = (0,) * len(BECAME)
    """Events on items of predictions that were sent, by place in BECAME."""
    once: bytes = b""
    """Bloom filter of what is said once: an interest, a price, a return to stock."""
    shifted: int = 0
    """Events of interest there were when a shift of intent was last spoken of; 0: never."""


NOTHING = Said()


def tag(item_id: str) -> bytes:
    """40 bits that stand for an item where only equality is asked."""
    return xxh3_64_digest(item_id.encode())[:5]


def live(said: Said, time: int) -> bool:
    """Whether the last prediction still counts at this time."""
    return time < said.expires_at


def offered(said: Said, item_id: str, time: int) -> bool:
    """Whether the item stands in the live prediction."""
    return live(said, time) and bloom.contains(said.offered, item_id)


def barred(said: Said, time: int, cooldown_ms: int) -> tuple[bytes, ...]:
    """Bloom filters of the items that were sent within the cool-down. One is barred for one cool-down at least, for one
    and a half at most; a late event, whose time lies before that of what was sent, finds all of it barred."""
    if not cooldown_ms or not said.told:
        return ()
    passed = max(0, (time - said.told_at) // _half(cooldown_ms))
    return said.told[: max(0, GENERATIONS - passed)]


def last_id(said: Said) -> str:
    """Id of the last prediction; empty: there was none."""
    return said.predictions[-_ONE.size :][:16].hex()


def outcomes(said: Said) -> list[Outcome]:
    """What became of the predictions that are remembered, oldest first."""
    found = []
    for number, marks, taken in _ONE.iter_unpack(said.predictions):
        counts = [taken >> _TAKEN_BITS * place & _TAKEN for place in range(len(BECAME))]
        found.append(Outcome(number.hex(), TRIGGERS[marks & ~_HELD], bool(marks & _HELD), *counts))
    return found


def fitted(said: Said, over: int) -> Said:
    """With fewer predictions remembered, where the state is `over` bytes too long; the newest 3 always stay."""
    if over <= 0:
        return said
    kept = max(PREDICTIONS_LEAST, len(said.predictions) // _ONE.size - -(-over // _ONE.size))
    return replace(said, predictions=said.predictions[-kept * _ONE.size :])


def was_said(said: Said, mark: str) -> bool:
    """Whether what is said once was said: true for all that was, and rarely for something that was not."""
    return bloom.contains(said.once, mark)


def after_marking(said: Said, marks: Iterable[str]) -> Said:
    """These are not said again."""
    return replace(said, once=bloom.added(said.once, marks, ONCE_BYTES))


def last_time(said: Said, trigger: Trigger) -> int:
    """When the trigger last sent something; 0: never. What is more than 49 days before the last prediction of any
    counts as 49 days before it."""
    before = _before(said)[TRIGGERS.index(trigger)]
    return said.sent_at - before + 1 if before else 0


def sent_on(said: Said, day: int) -> int:
    """Predictions sent on that day; for a late event of a day before, those of the newest day."""
    return said.today if day <= said.day else 0


def day_of(time: int, utc_offset_min: int) -> int:
    """The day number at a place.

    >>> day_of(86_400_000 - 1, 0), day_of(86_400_000 - 1, 60)
    (0, 1)
    """
    return (time + utc_offset_min * 60_000) // DAY_MS


def after_sending(
    said: Said,
    prediction: Prediction,
    head: bytes,
    day: int,
    cooldown_ms: int,
    *,
    held: bool,
    marks: Sequence[str] = (),
    steps: int = 0,
) -> Said:
    """The throttle moves.

    Args:
        held: it was kept from the visitor for the hold-out, and the throttle moves all the same.
        marks: what it says that is said once.
        steps: events of interest so far.
    """
    items = [offer.item_id for offer in prediction.items]
    told, told_at = _told(said, items, prediction.event_time, cooldown_ms)
    number = TRIGGERS.index(prediction.trigger)
    one = _ONE.pack(bytes.fromhex(prediction.prediction_id), number | _HELD * held, 0)
    sent_at = max(said.sent_at, prediction.event_time)
    if marks:
        said = after_marking(said, marks)
    return replace(
        said,
        predictions=(said.predictions + one)[-PREDICTIONS * _ONE.size :],
        sent_at=sent_at,
        expires_at=prediction.expires_at,
        held=held,
        head=head,
        offered=bloom.added(b"", items, min(OFFERED_BYTES, 6 * len(items))),
        told=told,
        told_at=told_at,
        triggered=_triggered(said, number, prediction.event_time, sent_at),
        day=max(day, said.day),
        today=min(sent_on(said, day) + 1, MOST),
        sent=min(said.sent + (not held), MOST),
        shifted=steps if prediction.trigger == "intent_shift" else said.shifted,
    )


def after_withdrawing(said: Said) -> Said:
    """The last prediction is no longer live; its items stay barred and the throttle stays where it is."""
    return replace(said, expires_at=0)


def after_taking_up(said: Said, kind: str | None, item_id: str | None, time: int, named: str | None = None) -> Said:
    """Counts an event on an item for the prediction that it names, where that is remembered, else for the live one that
    offered the item. What was held back is counted for itself alone: nobody was shown it.

    Args:
        named: the `prediction_id` of the event.
    """
    if item_id is None or kind not in BECAME:
        return said
    place = _place(said, named)
    if place is None and offered(said, item_id, time):
        place = len(said.predictions) - _ONE.size
    if place is None:
        return said
    number = BECAME.index(kind)
    name, marks, taken = _ONE.unpack_from(said.predictions, place)
    if taken >> _TAKEN_BITS * number & _TAKEN < _TAKEN:
        taken += 1 << _TAKEN_BITS * number
    one = _ONE.pack(name, marks, taken)
    became = said.became
    if not marks & _HELD:
        became = tuple(min(count + (each == number), MOST) for each, count in enumerate(became))
    return replace(
        said, became=became, predictions=said.predictions[:place] + one + said.predictions[place + _ONE.size :]
    )


def _place(said: Said, named: str | None) -> int | None:
    """Where the prediction of this id stands."""
    if named is None or len(named) != 32:
        return None
    places = range(0, len(said.predictions), _ONE.size)
    return next((at for at in places if said.predictions[at : at + 16].hex() == named), None)


def _before(said: Said) -> tuple[int, ...]:
    return _TRIGGERED.unpack(said.triggered) if said.triggered else (0,) * len(TRIGGERS)


def _triggered(said: Said, number: int, time: int, sent_at: int) -> bytes:
    """After the trigger of this number sent at this time, and `sent_at` moved on."""
    passed = sent_at - said.sent_at
    before = [min(each + passed, MOST) if each else 0 for each in _before(said)]
    before[number] = min(sent_at - time + 1, MOST)
    return _TRIGGERED.pack(*before)


def _told(said: Said, items: Sequence[str], time: int, cooldown_ms: int) -> tuple[tuple[bytes, ...], int]:
    if not cooldown_ms:
        return said.told, said.told_at
    half = _half(cooldown_ms)
    passed = (time - said.told_at) // half
    if passed < 1:  # also for a late event: its items are barred a little longer
        newest = bloom.added(said.told[0] if said.told else b"", items, TOLD_BYTES)
        return (newest, *said.told[1:]), said.told_at
    older = ((b"",) * min(passed - 1, GENERATIONS) + said.told)[: GENERATIONS - 1]
    return (bloom.added(b"", items, TOLD_BYTES), *older), said.told_at + passed * half if said.told else time


def _half(cooldown_ms: int) -> int:
    return max(1, -(-cooldown_ms // 2))

"""What a session was told, and what the throttle knows of it: a history of decisions, kept beside its events.

Unlike the rest of a session's state this is no function of the set of its events: it depends on the order in which
they were decided. It is a value all the same; every function here returns a new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from xxhash import xxh3_64_digest

from streaming import bloom
from streaming.records import Prediction, Trigger

DAY_MS = 86_400_000
TRIGGERS: Final[tuple[Trigger, ...]] = ("exit_intent", "cart_idle", "cold_start", "next_item")
"""Those that exist, most urgent first. A trigger's place is its number in the state: new ones go to the end."""
BECAME = ("view", "click", "cart_add", "purchase")
"""Kinds that count as taking an offer up."""

OFFERED_BYTES = 96
"""Of the set of items in the last prediction, at most; 6 bytes an item below that."""
TOLD_BYTES = 64
"""Of each of the three sets of items within the cool-down."""
GENERATIONS = 3


class Said(Struct, array_like=True, frozen=True):
    """All that is kept. Times are ms since the epoch; 0 is never."""

    last: bytes = b""
    """The last prediction's id, 16 bytes."""
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
    triggered: tuple[int, ...] = (0,) * len(TRIGGERS)
    """When each trigger last sent, by its place in TRIGGERS."""
    idle: int = 0
    """Due time of the last idle spell with a cart that was dealt with."""
    day: int = 0
    """Day number since the epoch, in the visitor's time zone, that `today` counts."""
    today: int = 0
    sent: int = 0
    """Predictions sent in all; the hold-out's are not."""
    became: tuple[int, ...] = (0,) * len(BECAME)
    """Events on items of the last prediction while it was live, by place in BECAME."""


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


def barred(said: Said, time: int, cooldown_ms: int) -> bloom.Members:
    """The items that were sent within the cool-down. One is barred for one cool-down at least, for one and a half at
    most; a late event, whose time lies before that of what was sent, finds all of it barred."""
    if not cooldown_ms or not said.told:
        return bloom.Members([])
    passed = max(0, (time - said.told_at) // _half(cooldown_ms))
    return bloom.Members(said.told[: max(0, GENERATIONS - passed)])


def last_time(said: Said, trigger: Trigger) -> int:
    """When the trigger last sent something; 0: never."""
    return said.triggered[TRIGGERS.index(trigger)]


def sent_on(said: Said, day: int) -> int:
    """Predictions sent on that day; for a late event of a day before, those of the newest day."""
    return said.today if day <= said.day else 0


def day_of(time: int, utc_offset_min: int) -> int:
    """The day number at a place.

    >>> day_of(86_400_000 - 1, 0), day_of(86_400_000 - 1, 60)
    (0, 1)
    """
    return (time + utc_offset_min * 60_000) // DAY_MS


def after_sending(said: Said, prediction: Prediction, head: bytes, day: int, cooldown_ms: int, *, held: bool) -> Said:
    """The throttle moves. `held`: it was kept from the visitor for the hold-out, and moves all the same."""
    items = [offer.item_id for offer in prediction.items]
    told, told_at = _told(said, items, prediction.event_time, cooldown_ms)
    triggered = list(said.triggered)
    triggered[TRIGGERS.index(prediction.trigger)] = prediction.event_time
    return replace(
        said,
        last=bytes.fromhex(prediction.prediction_id),
        sent_at=max(said.sent_at, prediction.event_time),
        expires_at=prediction.expires_at,
        held=held,
        head=head,
        offered=bloom.added(b"", items, min(OFFERED_BYTES, 6 * len(items))),
        told=told,
        told_at=told_at,
        triggered=tuple(triggered),
        day=max(day, said.day),
        today=sent_on(said, day) + 1,
        sent=said.sent + (not held),
    )


def after_withdrawing(said: Said) -> Said:
    """The last prediction is no longer live; its items stay barred and the throttle stays where it is."""
    return replace(said, expires_at=0)


def after_taking_up(said: Said, kind: str | None, item_id: str | None, time: int) -> Said:
    """Counts an event on an item of the live prediction; nothing was taken up of what was held back."""
    if said.held or item_id is None or kind not in BECAME or not offered(said, item_id, time):
        return said
    place = BECAME.index(kind)
    became = tuple(count + (number == place) for number, count in enumerate(said.became))
    return replace(said, became=became)


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

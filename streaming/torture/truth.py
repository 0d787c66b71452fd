"""Whether what the workers say of themselves is true, by what was done to them and by what they get done.

Each rule gives `GRACE_S`: within it a page may still say how it was before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from streaming.health import RECENT_S
from streaming.torture.looking import Look, Looks

GRACE_S = 8.0
"""`streaming.health` promises 4; the rest is for a machine of two cores on which all of this runs."""
BLIND_S = 5.0
"""Looks that are further apart say nothing of the time between: the worker was paused, or busy starting."""
AWAY = frozenset({"broker-away", "broker-pause"})


@dataclass(frozen=True, slots=True)
class Done:
    """A harm that was done, and when, in s of `time.monotonic`."""

    harm: str
    begun: float
    ended: float
    worker: str | None = None
    """Whom it was done to, where it was a worker."""
    everywhere: bool = False
    """Of brokers: to all of them."""


def untrue(looks: Looks, harms: Sequence[Done], *, cursed: bool, budget: bool) -> list[str]:
    """The looks at which a page did not say the truth, each in words.

    Args:
        cursed: there are events on which the engine always fails, at any time.
        budget: workers do less where events wait.
    """
    found = []
    for worker, seen in looks.seen.items():
        for process in _processes(seen):
            found += [f"{worker}: {wrong}" for wrong in _of_process(worker, process, harms, cursed)]
            if not budget:
                found += [f"{worker}: says {look.level!r}, and has no latency budget" for look in process if look.level]
    return found


def untrue_at_the_end(last: dict[str, Look | None]) -> list[str]:
    """Of workers that are to run, long after the last harm: they are alive and ready, and say so."""
    found = []
    for worker, look in last.items():
        if look is None:
            found.append(f"{worker}: no answer at the end")
        elif look.live is not None or look.ready is not None:
            found.append(f"{worker}: at the end, all worked off, it says: {look.live or look.ready}")
        elif look.level:
            found.append(f"{worker}: at the end, all worked off, it says: {look.level}")
    return found


def ready_again(looks: Looks, harms: Sequence[Done]) -> list[float]:
    """Seconds from each kill of a worker until it first owned partitions and said ready; those that came to it."""
    found = []
    for harm in harms:
        if harm.harm in ("kill", "kill-empty") and harm.worker is not None:
            after = (look for look in looks.seen.get(harm.worker, ()) if look.at > harm.begun)
            first = next((look.at for look in after if look.ready is None and look.partitions), None)
            if first is not None:
                found.append(round(first - harm.begun, 1))
    return found


def _processes(seen: Sequence[Look]) -> Iterator[list[Look]]:
    """Looks at one process after the other."""
    for pid in dict.fromkeys(look.pid for look in seen):
        yield [look for look in seen if look.pid == pid]


def _of_process(worker: str, seen: Sequence[Look], harms: Sequence[Done], cursed: bool) -> Iterator[str]:
    yield from _without_reason(seen)
    yield from _claims_and_does_not(seen)
    yield from _does_and_denies(seen)
    for harm in harms:
        if harm.everywhere and harm.harm in AWAY:
            yield from _ready_during(seen, harm, "with no broker there")
        elif harm.harm == "model-hangs" and harm.worker == worker:
            yield from _ready_during(seen, harm, "with an engine that hangs")
    mine = [harm for harm in harms if harm.harm == "model-errors" and harm.worker == worker]
    yield from _of_the_engine(seen, mine, cursed)


def _without_reason(seen: Sequence[Look]) -> Iterator[str]:
    for look in seen:
        if "" in (look.live, look.ready, look.full):
            yield "a page says no and not why"


def _claims_and_does_not(seen: Sequence[Look]) -> Iterator[str]:
    """Ready, with partitions, and nothing decided, though there is a tick a second."""
    since = before = None
    for look in seen:
        claims = look.ready is None and look.partitions > 0
        blind = before is not None and look.at - before.at > BLIND_S
        before = look
        if not claims or since is None or blind or look.batches != since.batches:
            since = look if claims else None
        elif look.at - since.at > GRACE_S:
            yield f"says ready, and has decided nothing for {look.at - since.at:.0f} s"


def _does_and_denies(seen: Sequence[Look]) -> Iterator[str]:
    """Not ready or not alive, and decides all the time."""
    since: Look | None = None
    for before, look in pairwise(seen):
        reason = look.live or look.ready
        if reason is None or look.batches == before.batches or look.at - before.at > BLIND_S:
            since = None
            continue
        since = since or look
        if look.at - since.at > GRACE_S:
            yield f"says {reason!r}, and has decided {look.batches - since.batches} batches meanwhile"


def _ready_during(seen: Sequence[Look], harm: Done, why: str) -> Iterator[str]:
    for look in seen:
        if harm.begun + GRACE_S < look.at < harm.ended and look.ready is None and look.partitions:
            yield f"says ready {look.at - harm.begun:.0f} s into {harm.harm}, {why}"


def _of_the_engine(seen: Sequence[Look], harms: Sequence[Done], cursed: bool) -> Iterator[str]:
    """`/full` tells of an engine that fails as it does, and for a while after it; and never otherwise."""
    for before, look in pairwise(seen):
        told = "the engine failed" in (look.full or "")
        if look.failures > before.failures and look.at - before.at < RECENT_S and not told:
            yield f"its engine failed {look.failures - before.failures} times, and it says it is full"
    for look in seen:
        cause = any(harm.begun < look.at < harm.ended + RECENT_S + GRACE_S for harm in harms)
        if "the engine failed" in (look.full or "") and not (cause or cursed):
            yield f"says {look.full!r}, and nobody made it fail"

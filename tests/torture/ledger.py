"""The ledger: what was sent, what came of it, and whatever does not tally."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from msgspec.structs import replace

from streaming import codec, topics
from streaming.codec import DecodeError
from streaming.records import Prediction, Suppressed
from streaming.sessions import SessionState, events_only
from streaming.settings import Settings
from streaming.tail import tail
from tests.torture.reference import Reference

EXAMPLES = 5


@dataclass(slots=True)
class Ledger:
    """Counts. All of those under FAULTS must be 0."""

    sent: int = 0
    """Events that the producer saw confirmed."""
    events: int = 0
    """Events on the topics."""
    sessions: int = 0
    must_answer: int = 0
    """Events of which a decision must stand on `predictions` or `suppressed`. The others may be silent."""
    decisions: int = 0
    """Ids on `predictions` and `suppressed`."""
    repeats: int = 0
    """Records there with an id that was there before: at least once."""
    lost_on_the_way_in: int = 0
    """Confirmed events that are not on the topics, or there twice, or refused."""
    missing: int = 0
    """Events that must be answered and were not."""
    twice: int = 0
    """Events with decisions under two ids."""
    unexpected: int = 0
    """Decisions that belong to no event."""
    different: int = 0
    """Decisions of one-topic sessions that are not, byte for byte, those of the reference."""
    wrong_on_changelog: int = 0
    """Sessions whose state on the changelog is not that of the reference."""
    wrong_in_workers: int = 0
    """Sessions whose state in the workers is not that of the reference."""
    lag: int = 0
    """Events that nobody had committed when the time was up."""
    examples: dict[str, list[str]] = field(default_factory=dict)
    """Some of each fault."""

    def faults(self) -> dict[str, int]:
        """What does not tally."""
        return {name: count for name in FAULTS if (count := getattr(self, name))}

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def note(self, fault: str, which: list[str]) -> None:
        """Counts a fault, with examples."""
        setattr(self, fault, getattr(self, fault) + len(which))
        if which:
            self.examples.setdefault(fault, []).extend(which[:EXAMPLES])


FAULTS = (
    "lost_on_the_way_in",
    "missing",
    "twice",
    "unexpected",
    "different",
    "wrong_on_changelog",
    "wrong_in_workers",
    "lag",
)


def keep(
    reference: Reference,
    accepted: set[str],
    decisions: list[Prediction],
    changelog: Mapping[str, bytes],
    workers: Mapping[str, bytes],
) -> Ledger:
    """Compares what came with what had to come.

    Args:
        accepted: ids of the events that the broker confirmed.
        decisions: every record on `predictions` and `suppressed`.
        changelog: encoded states by pseudonym, as recovered from the changelog.
        workers: likewise, as the workers hold them.
    """
    ledger = Ledger(sent=len(accepted), events=len(reference.events), sessions=len(reference.states))
    ledger.must_answer = len(reference.answered)
    there = Counter(str(event.event_id) for event in reference.events)
    wrong = {name for name, count in there.items() if count > 1} | (accepted ^ there.keys())
    ledger.note("lost_on_the_way_in", sorted(wrong))

    found = {decision.prediction_id: replace(decision, made_at=0) for decision in decisions}
    ledger.decisions, ledger.repeats = len(found), len(decisions) - len(found)
    ledger.note("unexpected", sorted(found.keys() - reference.possible.keys()))
    per_event = Counter(name for id in found if (name := reference.possible.get(id)))
    ledger.note("twice", [name for name, count in per_event.items() if count > 1])
    ledger.note("missing", [name for name in reference.answered if not per_event[name]])
    ledger.note("different", [id for id, answer in reference.answers.items() if found.get(id, answer) != answer])
    ledger.note("wrong_on_changelog", _wrong_states(reference, changelog))
    ledger.note("wrong_in_workers", _wrong_states(reference, workers))
    return ledger


def read_decisions(settings: Settings) -> list[Prediction]:
    """Every record on `predictions`, and every one held back on `suppressed`, repeats and all."""
    prefix = settings.topics.prefix
    sent = tail(settings, [prefix + topics.PREDICTIONS.name])
    held = tail(settings, [prefix + topics.SUPPRESSED.name])
    return [codec.decode(row.value, Prediction) for row in sent] + [
        codec.decode(row.value, Suppressed).prediction for row in held
    ]


def _wrong_states(reference: Reference, encoded: Mapping[str, bytes]) -> list[str]:
    wrong = [f"{session}: not in the reference" for session in encoded.keys() - reference.states.keys()]
    for session, expected in reference.states.items():
        value = encoded.get(session)
        if value is None:
            wrong.append(f"{session}: none, expected {expected.counts} events")
            continue
        try:
            state = codec.decode(value, SessionState)
        except DecodeError as exc:
            wrong.append(f"{session}: {exc}")
            continue
        told = expected == events_only(expected)  # the reference does not know what this session was told
        if (events_only(state) if told else state) != expected:
            wrong.append(
                f"{session}: {state.counts} up to {state.offsets}, expected {expected.counts} up to {expected.offsets}"
            )
    return wrong

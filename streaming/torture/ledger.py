"""The ledger: what was sent, what came of it, and whatever does not tally."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from streaming import codec, topics
from streaming.codec import DecodeError
from streaming.dead_letters import Letter
from streaming.records import Prediction, Suppressed
from streaming.sessions import SessionState, events_only
from streaming.settings import Settings
from streaming.tail import tail
from streaming.torture.reference import Reference, place_of, plain
from streaming.torture.sending import Sent
from streaming.torture.traffic import POISON

EXAMPLES = 5


@dataclass(slots=True)
class Ledger:
    """Counts. All of those under FAULTS must be 0."""

    sent: int = 0
    """Payloads that the producer saw confirmed."""
    unknown: int = 0
    """Payloads of which it knows nothing, for it was killed."""
    events: int = 0
    """Events on the topics."""
    set_aside: int = 0
    """Payloads on the topics that have to be dead letters: what nobody can read, and what the engine fails on."""
    sessions: int = 0
    must_answer: int = 0
    """Events of which a decision must stand on `predictions` or `suppressed`. The others may be silent."""
    stale: int = 0
    """Events that were not answered, which only their age excuses."""
    decisions: int = 0
    """Ids on `predictions` and `suppressed`."""
    repeats: int = 0
    """Records there with an id that was there before: at least once."""
    levels: dict[str, int] = field(default_factory=dict)
    """How many of each level."""
    letters: int = 0
    """Dead letters, each of them once."""
    letter_repeats: int = 0
    given: int = 0
    """Predictions that the consumer gave out."""
    lost_on_the_way_in: int = 0
    """Payloads that are not on the topics as often as they were confirmed, or oftener than they were sent."""
    missing: int = 0
    """Events that must be answered and were not."""
    twice: int = 0
    """Events with decisions under two ids."""
    unexpected: int = 0
    """Decisions that belong to no event."""
    different: int = 0
    """Decisions of one-topic sessions that are not, byte for byte, those of the reference."""
    missing_letters: int = 0
    """Records that had to be dead letters and are none."""
    unexpected_letters: int = 0
    """Dead letters of records that were none of those."""
    given_twice: int = 0
    """Predictions that the consumer gave out oftener than once."""
    given_amiss: int = 0
    """Sessions whose last prediction the consumer did not give out, and predictions given out that were never sent."""
    misplaced: int = 0
    """Sessions with a state in another partition than that of their events."""
    wrong_on_changelog: int = 0
    """Sessions whose state on the changelog is not that of the reference."""
    wrong_in_workers: int = 0
    """Sessions whose state in the workers is not that of the reference."""
    lag: int = 0
    """Events that nobody had committed when the time was up."""
    looks: int = 0
    """Answered looks at the workers' pages."""
    silent_looks: int = 0
    """Looks that a worker did not answer: it was paused, or gone."""
    untrue: int = 0
    """Looks at which a page did not say the truth."""
    ended_amiss: int = 0
    """Ends of workers with a code that docs/guarantees.md does not list, or that says that nobody knows why."""
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
    "missing_letters",
    "unexpected_letters",
    "given_twice",
    "given_amiss",
    "misplaced",
    "wrong_on_changelog",
    "wrong_in_workers",
    "lag",
    "untrue",
    "ended_amiss",
)


def keep(
    reference: Reference,
    sent: Sent,
    decisions: Iterable[Prediction],
    changelog: Mapping[str, bytes],
    workers: Mapping[str, bytes],
) -> Ledger:
    """Compares what came with what had to come.

    Args:
        sent: payloads that the broker confirmed, and those that it may have.
        decisions: every record on `predictions` and `suppressed`; none is kept, for they are many.
        changelog: encoded states by pseudonym, as recovered from the changelog.
        workers: likewise, as the workers hold them.
    """
    ledger = Ledger(sent=sent.confirmed.total(), unknown=sent.unknown.total(), events=len(reference.events))
    ledger.set_aside = len(reference.refused) + len(reference.cursed)
    ledger.sessions = len(reference.states)
    ledger.must_answer = len(reference.answered)
    ledger.note("lost_on_the_way_in", _lost(reference, sent))

    found, levels, different = Counter[str](), Counter[str](), dict[str, None]()
    for decision in decisions:
        id = decision.prediction_id
        levels[decision.level] += id not in found
        found[id] += 1
        if (answer := reference.answers.get(id)) is not None and plain(decision) != answer:
            different[id] = None
    ledger.decisions, ledger.repeats = len(found), found.total() - len(found)
    ledger.levels = dict(levels)
    ledger.note("unexpected", sorted(found.keys() - reference.possible.keys()))
    per_event = Counter(name for id in found if (name := reference.possible.get(id)))
    ledger.note("unexpected", sorted(name for name in reference.silent if per_event[name]))
    ledger.note("twice", [name for name, count in per_event.items() if count > 1])
    ledger.note("missing", [name for name in reference.answered if not per_event[name]])
    ledger.stale = sum(not per_event[name] for name in reference.excusable)
    ledger.note("different", list(different))
    ledger.note("wrong_on_changelog", _wrong_states(reference, changelog))
    ledger.note("wrong_in_workers", _wrong_states(reference, workers))
    return ledger


def keep_letters(ledger: Ledger, reference: Reference, letters: Iterable[Letter], prefix: str) -> None:
    """Every record that had to be set aside is, and no other. Repeats of a letter are counted, and no fault."""
    found = Counter(
        (letter.source_topic.removeprefix(prefix), letter.source_partition, letter.source_offset) for letter in letters
    )
    wanted = {*reference.refused, *(place_of(event.source) for event in reference.cursed)}
    ledger.letters, ledger.letter_repeats = len(found), found.total() - len(found)
    ledger.note("missing_letters", [str(place) for place in sorted(wanted - found.keys())])
    ledger.note("unexpected_letters", sorted(str(place) for place in found.keys() - wanted))


def last_of(told: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The id of each session's last prediction, by session; one that was sent again stands where it was sent first.

    Args:
        told: session and id of each record.

    >>> last_of([("s", "one"), ("s", "two"), ("s", "one")])
    {'s': 'two'}
    """
    last, ids = dict[str, str](), set[str]()
    for session, id in told:
        if id not in ids:
            ids.add(id)
            last[session] = id
    return last


def keep_given(ledger: Ledger, told: Sequence[tuple[str, str]], given: Counter[str]) -> None:
    """What the consumer gave out, against what stands on `predictions`, in its order.

    It may pass over what a later prediction of the session replaces; the last one it may not.

    Args:
        told: session and id of each record.
    """
    last, ids = last_of(told), {id for _, id in told}
    ledger.given = len(given)
    ledger.note("given_twice", [id for id, count in given.items() if count > 1])
    ledger.note("given_amiss", sorted(set(last.values()) - given.keys()) + sorted(given.keys() - ids))


def keep_places(ledger: Ledger, reference: Reference, places: Iterable[tuple[str, int]]) -> None:
    """States stand in the partitions of their sessions' events, from where the events' next owner recovers them.

    Args:
        places: session and partition of each state that was ever written.
    """
    home = {event.session: event.source.partition for event in reference.events}
    astray = {session for session, partition in places if home.get(session, partition) != partition}
    ledger.note("misplaced", sorted(astray))


def read_places(settings: Settings) -> Iterator[tuple[str, int]]:
    """Session and partition of every state on the changelog, deleted ones left out."""
    for row in tail(settings, [topics.changelog(settings.topics)]):
        if topics.is_session(row.key) and row.value is not None:
            yield row.key.decode(), row.partition


def _lost(reference: Reference, sent: Sent) -> list[str]:
    """Payloads that are there too seldom or too often, with the counts; of those that nobody can read only how many."""
    there = Counter(str(event.event_id) for event in [*reference.events, *reference.cursed])
    poison = f"{POISON}..."
    there[poison] = len(reference.refused)
    least, most = Counter[str](), Counter[str]()
    for counted, into in ((sent.confirmed, (least, most)), (sent.unknown, (most,))):
        for name, count in counted.items():
            for total in into:
                total[poison if name.startswith(POISON) else name] += count
    wrong = sorted(n for n in there.keys() | most.keys() if not least[n] <= there[n] <= most[n])
    return [f"{n}: {there[n]} there, {least[n]} confirmed, {most[n]} begun" for n in wrong]


def read_suppressed(settings: Settings) -> Iterator[Prediction]:
    """What every record on `suppressed` holds back, repeats and all."""
    for row in tail(settings, [settings.topics.prefix + topics.SUPPRESSED.name]):
        yield codec.decode(row.value, Suppressed).prediction


def read_predictions(settings: Settings) -> Iterator[Prediction]:
    """Every record on `predictions`, in order within a partition."""
    for row in tail(settings, [settings.topics.prefix + topics.PREDICTIONS.name]):
        yield codec.decode(row.value, Prediction)


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

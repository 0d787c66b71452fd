from __future__ import annotations

from streaming import codec
from streaming.decisions import Decision, Due
from streaming.intake import DeadLetter, Event, Source
from streaming.outputs import Outputs
from streaming.records import (
    Became,
    IndexVersion,
    Learned,
    Prediction,
    Receipt,
    SessionClosed,
    Suppressed,
    Transition,
)

OUTPUTS = Outputs("p.")


def event(offset: int, topic: int = 1, partition: int = 3) -> Event:
    return Event(Source(topic, partition, offset, 0), "s", None, "view", 1, item_id="i")


def prediction() -> Prediction:
    return Prediction(
        prediction_id="1" * 32,
        session_id="s",
        trigger="cold_start",
        items=[],
        model="m",
        index=IndexVersion(snapshot="x"),
        level="full",
        arm="treatment",
        event_time=1,
        made_at=2,
        expires_at=3,
    )


def test_a_decision_sends_what_it_says_keyed_by_the_session() -> None:
    (sent,) = OUTPUTS.decided(Decision(event(0), prediction=prediction()))
    assert (sent.topic, sent.partition, sent.key, sent.headers) == ("p.predictions", None, b"s", codec.HEADERS)
    assert codec.decode(sent.value, Prediction) == prediction()
    held = Suppressed(prediction=prediction(), rule="quiet", detail="3 s since the last")
    (sent,) = OUTPUTS.decided(Decision(event(0), suppressed=held))
    assert (sent.topic, codec.decode(sent.value, Suppressed)) == ("p.suppressed", held)


def test_silence_sends_nothing_and_a_closed_session_its_record() -> None:
    assert list(OUTPUTS.decided(Decision(event(0), silent="no_trigger"))) == []
    closed = SessionClosed(session_id="s", events={}, digest=2**64 - 1, first_time=1, last_time=2, became=Became())
    (sent,) = OUTPUTS.decided(Decision(Due("s", 5), silent="closed", closed=closed))
    assert (sent.topic, codec.decode(sent.value, SessionClosed)) == ("p.sessions", closed)


def test_what_was_taught_goes_by_source_partition() -> None:
    def taught(offset: int, **place: int) -> Decision:
        return Decision(event(offset, **place), silent="x", taught=Transition(offset, "a", "b", "view"))

    decisions = [taught(4), taught(9, topic=0), taught(5), taught(2, partition=1), Decision(event(6), silent="x")]
    lessons = [(sent.partition, codec.decode(sent.value, Learned)) for sent in OUTPUTS.learned(decisions)]
    assert [(number, lesson.topic, [step.offset for step in lesson.transitions]) for number, lesson in lessons] == [
        (3, "browses", [4, 5]),
        (3, "clicks", [9]),
        (1, "browses", [2]),
    ]


def test_dead_letters_stay_on_their_partition_and_receipts_go_by_order() -> None:
    dead = OUTPUTS.dead(DeadLetter(b"k", b"bytes", [("error", b"empty")]), 3)
    assert dead == ("p.dead-letters", 3, b"k", b"bytes", [("error", b"empty")])
    receipt = OUTPUTS.receipt(Receipt(control_id="c1", done=True, worker="w", time=1, why="ok"))
    assert (receipt.topic, receipt.key) == ("p.receipts", b"c1")

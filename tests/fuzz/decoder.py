"""Random bytes, led by what they reach, through the one door of bytes and through the intake.

    python -m tests.fuzz.decoder -max_total_time=60 FOLDER

Every value has to become a record that encodes to itself, or a `DecodeError`; every source record a clean event, a tick
or a dead letter that can be sent again, or whose cut says so. Whatever else is raised is a crash: libFuzzer writes the
bytes to `crash-...` and ends with code 77. It begins with good records, and keeps in FOLDER what reached something new.
Needs the package atheris (extra `fuzz`), on Linux.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["streaming", "msgpack"]):
    from streaming import codec, topics
    from streaming.codec import DecodeError
    from streaming.intake import DeadLetter, Event, Intake, Source, TickEvent
    from streaming.outbox import Outbox
    from streaming.privacy import Pseudonyms
    from streaming.records import Control, EventRecord, Facts, Item, Learned, Prediction, Receipt, SessionClosed, Tick
    from streaming.sessions import SessionState

KINDS = (EventRecord, Tick, Item, Facts, Control, Learned, Prediction, SessionClosed, Receipt, SessionState, Outbox)
NOW = 1_700_000_000_000
STALL_S = 1.0
VECTORS = Path(__file__).resolve().parent.parent / "vectors"
INTAKE = Intake(Pseudonyms(None), "shop.")


def one(data: bytes) -> None:
    """One input: the first byte says what the others are taken for.

    Raises:
        AssertionError: something is not as it has to be.
    """
    begun = time.monotonic()
    what, value = data[:1], data[1:]
    kind = KINDS[(what or b"\0")[0] % len(KINDS)]
    record = problem = None
    try:
        record = codec.decode(value, kind)
    except DecodeError as exc:
        problem = exc
    if record is not None:
        again = codec.encode(record)
        assert codec.encode(codec.decode(again, kind)) == again
    else:
        assert problem is not None
        assert problem.reason
        assert str(problem)
    _take_in(what, value)
    assert time.monotonic() - begun < STALL_S, f"{len(data)} bytes took {time.monotonic() - begun:.1f} s"


def _take_in(what: bytes, value: bytes) -> None:
    number = (what or b"\0")[0]
    source = Source(number % len(topics.SOURCES), number % 8, number, NOW)
    key = value[-(number % 32) :] if number & 64 else _session(value)
    taken = INTAKE.accept(source, key, value, [("v", b"1")] if number & 128 else [])
    if isinstance(taken, DeadLetter):
        headers = dict(taken.headers)
        assert headers["error"]
        assert int(headers["offset"]) == source.offset
        assert taken.value == value or headers["truncated"] == b"1"
    elif isinstance(taken, Event):
        assert taken.source == source
        assert taken.session
    else:
        assert isinstance(taken, TickEvent)


def _session(value: bytes) -> bytes | None:
    """The key that would fit, so that what is right otherwise is not refused for its key alone."""
    try:
        return codec.decode(value, EventRecord).session_id.encode()
    except DecodeError:
        return None


def seed(folder: Path) -> None:
    """Puts good records of every kind into a folder, to begin with."""
    for path in sorted(VECTORS.glob("*.msgpack")):
        for number in range(len(KINDS)):
            (folder / f"{path.stem}-{number}").write_bytes(bytes([number]) + path.read_bytes())


def main() -> None:
    """As libFuzzer takes its arguments; the last one is the folder."""
    seed(Path(sys.argv[-1]))
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

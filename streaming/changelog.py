"""The session states as the changelog has them: what a worker would recover, without a worker."""

from __future__ import annotations

from streaming import codec, topics
from streaming.sessions import SessionState
from streaming.settings import Settings
from streaming.tail import tail


def read_encoded(settings: Settings) -> dict[str, bytes]:
    """The last value of each session on the changelog, as bytes, by pseudonym.

    What was there when the call began, and perhaps a little more. Memory: all live sessions, at most 2 KB each.

    Raises:
        InputError: there is no changelog yet; it comes with the first worker.
        BrokerError: no broker answers.
    """
    states: dict[str, bytes] = {}
    for record in tail(settings, [topics.changelog(settings.topics)]):
        if not topics.is_session(record.key):
            continue
        session = record.key.decode()
        if record.value is None:
            states.pop(session, None)
        else:
            states[session] = bytes(record.value)
    return states


def read_states(settings: Settings) -> dict[str, SessionState]:
    """The state of each live session, by pseudonym. As `read_encoded`, decoded.

    Raises:
        DecodeError: a state was written by a release that this one does not understand.
    """
    return {session: codec.decode(value, SessionState) for session, value in read_encoded(settings).items()}

from __future__ import annotations

from types import SimpleNamespace

import pytest

from streaming import changelog as module
from streaming import codec
from streaming.changelog import read_encoded, read_states
from streaming.codec import DecodeError
from streaming.sessions import FRESH
from streaming.settings import Settings
from streaming.topics import FENCE_KEY, OUTBOX_KEY


def given(monkeypatch: pytest.MonkeyPatch, *rows: tuple[bytes | None, bytes | None]) -> None:
    def tail(settings: Settings, names: list[str]) -> list[SimpleNamespace]:
        assert names == ["beforehand.worker-sessions-changelog"]
        return [SimpleNamespace(key=key, value=value) for key, value in rows]

    monkeypatch.setattr(module, "tail", tail)


def test_the_last_value_counts_and_a_null_deletes(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, (b"a", b"1"), (b"b", b"1"), (b"a", b"2"), (b"b", None), (b"c", None))
    assert read_encoded(Settings()) == {"a": b"2"}


def test_the_fence_and_the_outbox_are_no_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, (FENCE_KEY, b""), (OUTBOX_KEY, b"sealed"), (None, b"x"), (b"a", b"1"))
    assert read_encoded(Settings()) == {"a": b"1"}


def test_states_are_decoded_and_a_foreign_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, (b"a", codec.encode(FRESH)))
    assert read_states(Settings()) == {"a": FRESH}
    given(monkeypatch, (b"a", b"\xc1"))
    with pytest.raises(DecodeError):
        read_states(Settings())

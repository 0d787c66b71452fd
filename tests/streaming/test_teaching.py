"""What an event teaches, and what it does not."""

from __future__ import annotations

import zlib
from typing import Any

from xxhash import xxh3_64_intdigest

from index.meetings import CONTEXT
from streaming import sessions
from streaming.intake import Event, Source
from streaming.records import CLICK_KINDS, Transition
from streaming.sessions import FRESH, SessionState
from streaming.teaching import session_tag, taught

START = 1_700_000_000_000
MINUTE = 60_000


class Session:
    """Events reach the state one by one; each may teach."""

    def __init__(self, most: int = 200) -> None:
        self.state: SessionState = FRESH
        self._most = most
        self._offsets = [-1, -1]

    def does(self, kind: str, item: str | None, at: int = 0, **fields: Any) -> Transition | None:
        topic = 0 if kind in CLICK_KINDS else 1
        self._offsets[topic] += 1
        query = item if kind == "search" else None
        source = Source(topic, 0, self._offsets[topic], START)
        user = fields.pop("user", None)
        item_id = None if kind == "search" else item
        event = Event(source, "s", user, kind, START + at, item_id, query=query, **fields)
        self.state = sessions.advance(self.state, event)
        return taught(event, self.state, self._most)

    def views(self, *items: str, every: int = 1000) -> list[Transition | None]:
        return [self.does("view", item, n * every) for n, item in enumerate(items)]


def contexts(lessons: list[Transition | None]) -> list[list[str] | None]:
    return [lesson.context if lesson is not None else None for lesson in lessons]


def test_the_context_is_what_came_before_nearest_first() -> None:
    lessons = Session().views("a", "b", "c")
    assert contexts(lessons) == [[], ["a"], ["b", "a"]]
    assert [lesson and lesson.before for lesson in lessons] == ["", "a", "b"]


def test_the_context_has_ten_places() -> None:
    last = Session().views(*"abcdefghijklm")[-1]
    assert last is not None
    assert last.context == [*"lkjihgfedc"]
    assert len(last.context) == CONTEXT


def test_a_pair_counts_once_in_half_an_hour() -> None:
    assert contexts(Session().views("a", "b", "a", "b")) == [[], ["a"], ["", "a"], ["", "b", ""]]
    assert contexts(Session().views("a", "b", "b", "a", every=31 * MINUTE))[-1] == ["b", "", "a"]


def test_the_same_again_follows_itself() -> None:
    first, second = Session().views("a", "a")
    assert second is not None
    assert (second.before, second.after, second.context) == ("a", "a", ["a"])
    assert first is not None
    assert first.context == []


def test_one_visit_teaches_once_whatever_the_site_tells_of_it() -> None:
    session = Session()
    steps = [("click", {}), ("view", {}), ("view", {"dwell_ms": 5})]
    lessons = [session.does(kind, "a", n, **fields) for n, (kind, fields) in enumerate(steps)]
    assert contexts(lessons) == [[], None, None]
    assert contexts([session.does("view", "b", 9), session.does("view", "a", 10, dwell_ms=7)]) == [["a"], ["", "a"]]
    only_left = Session()
    assert contexts([only_left.does("view", "a", n, dwell_ms=5) for n in range(2)]) == [[], ["a"]]


def test_a_click_that_arrives_after_the_page_it_opened_teaches_nothing() -> None:
    session = Session()
    assert session.does("view", "a", 5) is not None
    assert session.does("click", "a", 4) is None


def test_searches_and_impressions_teach_nothing_and_take_no_place() -> None:
    session = Session()
    session.does("view", "a")
    assert session.does("search", "tea", 1) is None
    assert session.does("impression", "b", 2) is None
    assert session.does("cart_remove", "b", 3) is None
    assert contexts([session.does("purchase", "b", 4)]) == [["a"]]


def test_a_late_event_teaches_what_came_before_it() -> None:
    session = Session()
    session.does("view", "a", 0)
    session.does("view", "c", 10)
    assert contexts([session.does("click", "b", 5)]) == [["a"]]


def test_a_session_of_too_many_events_teaches_no_more() -> None:
    session = Session(most=3)
    lessons = session.views(*"abcde")
    assert [lesson is not None for lesson in lessons] == [True, True, True, False, False]


def test_who_taught_it() -> None:
    session = Session()
    anonymous, known = session.does("view", "a"), session.does("view", "b", 1, user="u")
    assert anonymous is not None
    assert known is not None
    assert anonymous.session == known.session == session_tag("s")
    assert session_tag("s") % 2**64 == xxh3_64_intdigest(b"s")
    assert -(2**63) <= min(map(session_tag, map(str, range(100)))) < 0 < max(map(session_tag, map(str, range(100))))
    assert (anonymous.visitor, known.visitor) == (zlib.crc32(b"s"), zlib.crc32(b"u"))
    assert (known.time, known.kind, known.offset) == (START + 1, "view", 1)

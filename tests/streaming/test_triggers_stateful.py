"""Whatever visitors do, in whatever order: what triggers and rules promise holds after each step."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from encoders.text import DummyTextEncoder
from streaming.decisions import Decision
from streaming.engine import Engine
from streaming.intake import Event, Source
from streaming.items import Shop
from streaming.moments import Due
from streaming.privacy import Pseudonyms
from streaming.records import Item, Prediction
from streaming.sessions import SessionState
from streaming.settings import RuleSettings, Settings, TriggerSettings, WorkerSettings

BEGIN = 1_700_000_000_000
DAY_MS = 86_400_000
RULES = RuleSettings(quiet_ms=20_000, trigger_cooldown_ms=30_000, item_cooldown_ms=120_000, min_gain=0, daily_cap=6)
SETTINGS = Settings(
    no_pseudonyms=True,
    rules=RULES,
    triggers=TriggerSettings(cart_idle_ms=60_000, offers=3),
    worker=WorkerSettings(session_idle_ms=600_000),
)
ITEMS = [f"i{n}" for n in range(8)]
SESSIONS = ("a", "b")
KINDS = ("view", "click", "cart_add", "cart_remove", "purchase", "search", "impression", "exit")


class Shopping(RuleBasedStateMachine):
    """Two visitors, eight items, one engine."""

    @initialize()
    def open(self) -> None:
        self.shop = Shop(DummyTextEncoder())
        self.shop.upsert([self._item(item) for item in ITEMS])
        self.engine = Engine(SETTINGS, self.shop, self.shop.tables.session_encoder(), Pseudonyms(None))
        self.states: dict[str, SessionState] = {}
        self.now, self.offset = BEGIN, 0
        self.last: Event | None = None
        self.sent: dict[str, list[Prediction]] = {session: [] for session in SESSIONS}
        """Since the session began."""
        self.ids: set[str] = set()
        self.gone: set[str] = set()
        self.bought: dict[str, set[str]] = {session: set() for session in SESSIONS}

    @rule(ms=st.integers(1, 40_000))
    def time_passes(self, ms: int) -> None:
        self.now += ms

    @rule(ms=st.integers(60_000, 1_200_000))
    def much_time_passes(self, ms: int) -> None:
        self.now += ms

    @rule(session=st.sampled_from(SESSIONS), kind=st.sampled_from(KINDS), item=st.sampled_from(ITEMS))
    def something_is_done(self, session: str, kind: str, item: str) -> None:
        self.offset += 1
        about: dict[str, Any] = {"item_id": item}
        if kind in ("search", "exit"):
            about = {"query": f"{self._item(item).title.split()[0]}"} if kind == "search" else {}
        event = Event(Source(1, 0, self.offset, self.now), session, None, kind, self.now, **about)
        before = self.states.get(session)
        decision = self._decide(event)
        if decision.closed is not None:
            self._ended(session)
        if kind == "purchase":
            self.bought[session].add(item)
        if before is None or decision.closed is not None or not before.last_time:
            assert decision.silent != "repeat"
        if decision.prediction is not None:
            self._told(session, decision.prediction)
        self.last = event

    @rule()
    def the_same_offset_comes_again(self) -> None:
        if self.last is None:
            return
        before = dict(self.states)
        decision = self._decide(self.last)
        assert decision.silent == "applied"
        assert self.states == before

    @rule(session=st.sampled_from(SESSIONS))
    def a_tick_looks(self, session: str) -> None:
        if session not in self.states:
            return
        decision = self._decide(Due(session, self.now))
        if decision.closed is not None:
            self._ended(session)
        if decision.prediction is not None:
            assert decision.prediction.trigger == "cart_idle"
            self._told(session, decision.prediction)

    @rule(item=st.sampled_from(ITEMS))
    def an_item_goes_or_comes(self, item: str) -> None:
        self.gone ^= {item}
        self.shop.upsert([self._item(item, available=item not in self.gone)])

    @invariant()
    def states_are_small(self) -> None:
        for state in getattr(self, "states", {}).values():
            assert state.counts[0] + state.counts[1] <= self.offset

    # ---------------------------------------------------------------------------------------------------------- checks
    def _decide(self, work: Event | Due) -> Decision:
        changed, (decision,) = self.engine.step([work], self.states)
        self.states |= changed
        outcomes = [decision.prediction, decision.suppressed, decision.silent]
        assert sum(outcome is not None for outcome in outcomes) == 1
        return decision

    def _told(self, session: str, prediction: Prediction) -> None:
        earlier = self.sent[session]
        assert prediction.prediction_id not in self.ids
        self.ids.add(prediction.prediction_id)
        assert prediction.session_id == session
        offered = [offer.item_id for offer in prediction.items]
        assert len(offered) == len(set(offered)) <= 3
        assert not set(offered) & self.gone
        assert not set(offered) & self.bought[session]
        scores = [offer.score for offer in prediction.items]
        assert scores == sorted(scores, reverse=True)
        withdrawal = not prediction.items
        if withdrawal:
            assert prediction.cancels == [earlier[-1].prediction_id]
            return
        spoken = [each for each in earlier if each.items]
        if spoken:
            assert abs(prediction.event_time - spoken[-1].event_time) >= RULES.quiet_ms
        for each in spoken:
            gap = abs(prediction.event_time - each.event_time)
            if gap < RULES.item_cooldown_ms:
                assert not set(offered) & {offer.item_id for offer in each.items}
            if each.trigger == prediction.trigger:
                assert gap >= RULES.trigger_cooldown_ms
                assert prediction.trigger not in ("cold_start", "exit_intent")
        today = [each for each in spoken if each.event_time // DAY_MS == prediction.event_time // DAY_MS]
        assert len(today) < RULES.daily_cap
        if prediction.supersedes:
            assert prediction.supersedes == [spoken[-1].prediction_id]
        earlier.append(prediction)

    def _ended(self, session: str) -> None:
        self.sent[session], self.bought[session] = [], set()

    @staticmethod
    def _item(item: str, *, available: bool = True) -> Item:
        number = int(item[1:])
        word = ("kettle", "boots")[number % 2]
        return Item(item_id=item, title=f"{word} {word} number{number}", category=word, available=available)


TestShopping = Shopping.TestCase
TestShopping.settings = hypothesis_settings(max_examples=60, stateful_step_count=40)

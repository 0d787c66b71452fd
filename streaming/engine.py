"""The engine: the whole way of an event, from the session's state to a decision. Read `Engine.step` top to bottom."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from msgspec.structs import replace
from pydantic import ValidationError

from encoders.session import SessionEncoder
from index.gate import Threshold
from index.lesson import LEARNING_KINDS
from index.vocabulary import Codes
from streaming import said
from streaming.decisions import Decision, Grounds, Mark, decide, unmarked
from streaming.errors import InputError
from streaming.gating import threshold_of
from streaming.heads import Heads
from streaming.intake import Event
from streaming.items import Shop
from streaming.ladder import LEVELS
from streaming.moments import Moment, Work, meet
from streaming.privacy import Pseudonyms
from streaming.ranking import Common, Ranking, RankingSettings, decayed, gather, weigh
from streaming.recalibrating import Recalibration
from streaming.records import Level
from streaming.sessions import SessionState
from streaming.settings import RuleSettings, Settings
from streaming.sights import Folded, Sight, Sights, search
from streaming.teaching import session_tag
from streaming.triggers import needs_ranking

STAGES = ("state", "encode", "search", "rank", "decide", "reasons")
"""Of a step, in order; `reasons` is within `decide`."""


class Engine:
    """Decides what each event means. Pure but for the shop: equal events, states and shop give equal decisions.

    A batch equals its events one by one, up to rounding where the session encoder is in torch. Not for more than one
    thread.
    """

    def __init__(
        self,
        settings: Settings,
        shop: Shop,
        encoder: SessionEncoder,
        pseudonyms: Pseudonyms,
        ranking: RankingSettings | None = None,
    ) -> None:
        """
        Args:
            encoder: of the shop's dimension.
            pseudonyms: cuts the arms.
            ranking: in place of the weights that the shop's model brings.
        """
        self.settings = settings
        self.rules = settings.rules
        self._given = ranking
        self._pseudonyms = pseudonyms
        self.level: Level = "full"
        """The most that is done, for the next steps; see `streaming.ladder`."""
        self.mark: Mark = unmarked
        """Hears of each stage of a step as it begins, and None at the end; for those who measure."""
        self.ranked = 0
        """Items of each ranking that its decision tells, before the throttle; they cost some microseconds each."""
        self.forgets = False
        """What was said to a session is forgotten before each event, so that every event with a ranking is answered;
        for those who measure, with rules that hold nothing back."""
        self.heads: Heads | None = None
        """What speaks of the texts of events; None: nothing does."""
        self.serve(shop, encoder)

    def serve(self, shop: Shop, encoder: SessionEncoder) -> None:
        """Answer from this shop and this session encoder from now on.

        Raises:
            InputError: the two are of different dimensions, or as `suited`; then nothing was changed.
        """
        sights, (ranking, threshold) = Sights(shop, encoder), self.suited(shop)
        self.shop, self._sights, self.ranking, self._threshold = shop, sights, ranking, threshold
        self.recalibration = Recalibration() if self.settings.worker.recalibrate else None

    def suited(self, shop: Shop) -> tuple[RankingSettings, Threshold | None]:
        """How this shop would be ranked, and from which chance on predictions would be sent.

        Raises:
            InputError: its model brings weights that are none, or no gate that keeps the precision that is asked for.
        """
        return self._given or RankingSettings.of(shop), self._asked(shop, self.rules)

    def _asked(self, shop: Shop, rules: RuleSettings) -> Threshold | None:
        return threshold_of(shop.gate, rules.min_precision, self.settings.triggers.offers)

    def set_rule(self, name: str, value: float) -> None:
        """Change one setting of the rules from the next step on.

        Raises:
            InputError: there is no such rule, or it or the model does not take this value; then nothing was changed.
        """
        if name not in RuleSettings.model_fields:
            raise InputError(f"rule {name!r} does not exist, expected one of {', '.join(RuleSettings.model_fields)}")
        try:
            rules = RuleSettings.model_validate(self.rules.model_dump() | {name: value})
        except ValidationError as exc:
            raise InputError(f"rule {name} = {value!r}: {exc.errors()[0]['msg']}; send another value") from exc
        self.rules, self._threshold = rules, self._asked(self.shop, rules)

    # ------------------------------------------------------------------------------------------------ the whole way
    def step(
        self, events: Sequence[Work], states: Mapping[str, SessionState], now: int | None = None
    ) -> tuple[dict[str, SessionState], list[Decision]]:
        """One micro-batch, in order.

        Args:
            states: of the events' sessions; one that is missing has no state yet.
            now: wall time for `made_at` in ms since the epoch, by which an event can be stale; None: the event's own
                time, and none is.

        Returns:
            The states that changed, and one decision for each event, aligned.
        """
        self.mark("state")
        moments = self._meet(events, states, now)  # clean events -> each with its session's new state
        self.mark("encode")
        if self.level == "full":
            self.shop.read(self._texts(moments))  # words met for the first time -> vectors, in one call
        sights = self._see(moments)  # -> what each session looks like; None: not needed
        self.mark("search")
        found = search(
            self.shop, sights, self.ranking.query_weights, self.ranking.nearest, cold=self.ranking.cold
        )  # -> nearest, in one search
        grounds = Grounds(
            self.settings,
            self.rules,
            self.shop,
            self._pseudonyms,
            self.ranking,
            now,
            self.ranked,
            self.mark,
            self._threshold,
            self.recalibration,
        )
        self.mark("rank")
        # All of them before the first decision: each of the two finds its code and tables still at hand.
        rankings = self._rankings(moments, sights, found)  # -> candidates, scored
        self.mark("decide")
        changed: dict[str, SessionState] = {}
        decisions: list[Decision] = []
        for moment, ranking in zip(moments, rankings, strict=True):
            session = moment.event.session
            self._hear(moment)
            before = changed.get(session) or states.get(session)
            told = before.said if before is not None and not self.forgets else said.NOTHING
            decision, told = decide(moment, ranking, told, grounds)  # -> what is allowed, with reasons, or why not
            decisions.append(decision)
            if moment.silent not in ("applied", "not_due"):
                changed[session] = replace(moment.state, said=told)  # the state, and what was said
        if self.heads is not None:
            decisions = self.heads.label(decisions, self.shop, now)  # + what the heads say of the events' texts
        self.mark(None)
        return changed, decisions

    # ------------------------------------------------------------------------------------------------------ its steps
    def _meet(self, events: Sequence[Work], states: Mapping[str, SessionState], now: int | None) -> list[Moment]:
        """Each event with the state after it; events of one session see each other in order."""
        current: dict[str, SessionState] = {}
        moments = []
        for event in events:
            moment = meet(event, current.get(event.session) or states.get(event.session), self.settings, now)
            current[event.session] = moment.state
            moments.append(moment)
        return moments

    def _texts(self, moments: Sequence[Moment]) -> list[str]:
        """The words that the moments' vectors are made of: queries, and titles of unknown items."""
        texts: list[str] = []
        for moment in moments:
            if moment.stale:
                continue
            texts += filter(None, self.shop.words_of(moment.state.history))
            if isinstance(moment.event, Event) and (title := self.shop.told(moment.event)) is not None:
                texts.append(title)
        return texts

    def _see(self, moments: Sequence[Moment]) -> list[Sight | None]:
        """What each session looks like after its event, where a ranking is needed: histories folded in the order of
        the events, their vectors made in one call."""
        blind = self.level in ("graph", "popular")
        seen: list[Sight | None] = [None] * len(moments)
        folded: dict[int, Folded] = {}
        for place, moment in enumerate(moments):
            if not self._asks(moment):
                continue
            if blind:
                seen[place] = Sight.nothing(self.shop.dimension)
                continue
            session, history = moment.event.session, moment.state.history
            folded[place] = self._sights.folded(session, history, at_hand=self.level == "cached")
        for place, sight in zip(folded, self._sights.made(list(folded.values())), strict=True):
            seen[place] = sight
        return seen

    def _asks(self, moment: Moment) -> bool:
        """Whether a ranking is needed."""
        if moment.silent is not None:
            return False
        if isinstance(moment.event, Event):
            self.shop.met(moment.event)
        return not moment.stale and needs_ranking(moment.kind, moment.first, moment.state, self.settings.triggers)

    def _hear(self, moment: Moment) -> None:
        """What was said to the session before is held against what it does."""
        event = moment.event
        if self.recalibration is None or not isinstance(event, Event) or event.item_id is None or moment.silent:
            return
        if event.kind in LEARNING_KINDS:
            self.recalibration.met(event.session, event.item_id, event.time)

    def _rankings(
        self, moments: Sequence[Moment], sights: Sequence[Sight | None], found: Sequence[Codes]
    ) -> list[Ranking | None]:
        """Of each moment that needs one. Where popularity alone has its say it is the same for all."""
        rankings: list[Ranking | None] = []
        common: Ranking | None = None
        for moment, sight, near in zip(moments, sights, found, strict=True):
            if sight is None:
                rankings.append(None)
            elif self.level == "popular" and moment.lead is None:
                if common is None:
                    ranking = self._rank(moment, sight, near)
                    common = dataclasses.replace(ranking, candidates=Common.of(ranking.candidates))
                rankings.append(common)
            else:
                rankings.append(self._rank(moment, sight, near))
        return rankings

    def _rank(self, moment: Moment, sight: Sight, near: Codes) -> Ranking:
        if moment.lead is not None and (code := self.shop.vocabulary.code(moment.lead)) >= 0:
            near = np.append(near, np.int32(code))
        history = [] if self.level == "popular" else decayed(moment.state.history, self.ranking.decay)
        raw = gather(history, sight, near, self.shop, self.ranking, session_tag(moment.event.session))
        ranking = weigh(raw, self.shop, self.ranking, sight)
        if LEVELS.index(self.level) <= LEVELS.index(ranking.level):
            return ranking
        return dataclasses.replace(ranking, level=self.level)

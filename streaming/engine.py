"""The engine: the whole way of an event, from the session's state to a decision. Read `Engine.step` top to bottom."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace
from pydantic import ValidationError

from encoders.session import SessionEncoder, Vector
from streaming import said
from streaming.decisions import Decision, Grounds, decide
from streaming.errors import InputError
from streaming.intake import Event
from streaming.items import Shop, Words
from streaming.moments import Moment, Work, meet
from streaming.privacy import Pseudonyms
from streaming.ranking import RankingSettings, Sight, rank
from streaming.sessions import SessionState, Step
from streaming.settings import RuleSettings, Settings
from streaming.triggers import needs_ranking

Mark = Callable[[str | None], None]
STAGES = ("state", "encode", "search", "rank", "decide")
"""Of a step, in order."""
SLOW = 0.9
"""What the slow mean of a session's vectors keeps of itself at each event."""
VECTORS_KEPT = 20_000
"""Sessions whose encoder state is kept between events; a session beyond that is folded anew, with the same result."""


@dataclass(frozen=True, slots=True)
class Folded:
    """A session encoder's state after a history, so that one more event is one more step."""

    history: tuple[Step, ...]
    words: Words
    """What its steps were read as."""
    version: int
    """Of the shop's vectors."""
    state: Vector
    last_time: int | None
    """Of the last step that had a vector."""
    slow: Vector | None = None
    """(dimension,): the slow mean of the session's vectors, one after each step that had one."""
    shift: float | None = None
    """Cosine of the last of them with the slow mean before it; None: there was none before it."""


def _unmarked(_stage: str | None) -> None:
    """Nobody measures."""


class Engine:
    """Decides what each event means. Pure but for the shop: equal events, states and shop give equal decisions.

    A batch equals its events one by one. Not for more than one thread.
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
        self.mark: Mark = _unmarked
        """Hears of each stage of a step as it begins, and None at the end; for those who measure."""
        self.ranked = 0
        """Items of each ranking that its decision tells, before the throttle; they cost some microseconds each."""
        self.serve(shop, encoder)

    def serve(self, shop: Shop, encoder: SessionEncoder) -> None:
        """Answer from this shop and this session encoder from now on.

        Raises:
            InputError: the two are of different dimensions, or the model brings weights that are none; then nothing was
                changed.
        """
        if encoder.dimension != shop.dimension:
            raise InputError(
                f"the session encoder has {encoder.dimension} dimensions, expected {shop.dimension} as the items' "
                "vectors; use the encoder that was built with the model folder"
            )
        self.ranking = self._given or RankingSettings.of(shop)
        self.shop, self._encoder = shop, encoder
        self._folded: OrderedDict[str, Folded] = OrderedDict()

    def set_rule(self, name: str, value: float) -> None:
        """Change one setting of the rules from the next step on.

        Raises:
            InputError: there is no such rule, or it does not take this value; then nothing was changed.
        """
        if name not in RuleSettings.model_fields:
            raise InputError(f"rule {name!r} does not exist, expected one of {', '.join(RuleSettings.model_fields)}")
        try:
            self.rules = RuleSettings.model_validate(self.rules.model_dump() | {name: value})
        except ValidationError as exc:
            raise InputError(f"rule {name} = {value!r}: {exc.errors()[0]['msg']}; send another value") from exc

    # ------------------------------------------------------------------------------------------------ the whole way
    def step(
        self, events: Sequence[Work], states: Mapping[str, SessionState], now: int | None = None
    ) -> tuple[dict[str, SessionState], list[Decision]]:
        """One micro-batch, in order.

        Args:
            states: of the events' sessions; one that is missing has no state yet.
            now: wall time for `made_at` in ms since the epoch; None: the event's own time.

        Returns:
            The states that changed, and one decision for each event, aligned.
        """
        self.mark("state")
        moments = self._meet(events, states)  # clean events -> each with its session's new state
        self.mark("encode")
        self.shop.read(self._texts(moments))  # words met for the first time -> vectors, in one call
        sights = [self._see(moment) for moment in moments]  # -> the session's vector (d,); None: not needed
        self.mark("search")
        found = self._search(sights)  # -> nearest items, in one search
        grounds = Grounds(self.settings, self.rules, self.shop, self._pseudonyms, self.ranking.repeat, now, self.ranked)
        changed: dict[str, SessionState] = {}
        decisions: list[Decision] = []
        for moment, sight, near in zip(moments, sights, found, strict=True):
            session = moment.event.session
            before = changed.get(session) or states.get(session)
            told = before.said if before is not None else said.NOTHING
            ranking = None
            if sight is not None:  # -> candidates, scored
                self.mark("rank")
                near = near if moment.lead is None else [*near, moment.lead]
                ranking = rank(moment.state, sight, near, self.shop, self.ranking)
            self.mark("decide")
            decision, told = decide(moment, ranking, told, grounds)  # -> what is allowed, with reasons, or why not
            decisions.append(decision)
            if moment.silent not in ("applied", "not_due"):
                changed[session] = replace(moment.state, said=told)  # the state, and what was said
        self.mark(None)
        return changed, decisions

    # ------------------------------------------------------------------------------------------------------ its steps
    def _meet(self, events: Sequence[Work], states: Mapping[str, SessionState]) -> list[Moment]:
        """Each event with the state after it; events of one session see each other in order."""
        current: dict[str, SessionState] = {}
        moments = []
        for event in events:
            moment = meet(event, current.get(event.session) or states.get(event.session), self.settings)
            current[event.session] = moment.state
            moments.append(moment)
        return moments

    def _texts(self, moments: Sequence[Moment]) -> list[str]:
        """The words that the moments' vectors are made of: queries, and titles of unknown items."""
        texts: list[str] = []
        for moment in moments:
            texts += filter(None, self.shop.words_of(moment.state.history))
            if isinstance(moment.event, Event) and (title := self.shop.told(moment.event)) is not None:
                texts.append(title)
        return texts

    def _see(self, moment: Moment) -> Sight | None:
        """The session's vector after the event: always that of its history folded from the start."""
        if moment.silent is not None:
            return None
        event, history = moment.event, moment.state.history
        if isinstance(event, Event):
            self.shop.met(event)
        if not needs_ranking(moment.kind, moment.first, moment.state, self.settings.triggers):
            return None
        words = self.shop.words_of(history)
        folded = self._fold(history, words, self._folded.get(event.session))
        self._folded[event.session] = folded
        self._folded.move_to_end(event.session)
        if len(self._folded) > VECTORS_KEPT:
            self._folded.popitem(last=False)
        return Sight(self._encoder.vector(folded.state), words, folded.shift)

    def _fold(self, history: tuple[Step, ...], words: Words, known: Folded | None) -> Folded:
        """The encoder stepped over a history; from a known state on where that is a beginning of it."""
        state, last_time, done = self._encoder.start(), None, 0
        slow: Vector | None = None
        shift: float | None = None
        if known is not None and known.version == self.shop.version:
            beginning = len(known.history)
            if history[:beginning] == known.history and words[:beginning] == known.words:
                state, last_time, done = known.state, known.last_time, beginning
                slow, shift = known.slow, known.shift
        for step, text in zip(history[done:], words[done:], strict=True):
            vector = self.shop.vector_of(step, text)
            if vector is not None:
                gap = step.time - last_time if last_time is not None else 0
                state, last_time = self._encoder.step(state, vector, step.kind, gap), step.time
                now = self._encoder.vector(state)  # (dimension,)
                shift = None if slow is None else float(now @ slow / max(float(np.linalg.norm(slow)), 1e-12))
                slow = now if slow is None else slow * np.float32(SLOW) + now * np.float32(1 - SLOW)
        return Folded(history, words, self.shop.version, state, last_time, slow, shift)

    def _search(self, sights: Sequence[Sight | None]) -> list[list[str]]:
        """The nearest items of each vector, none where there is nothing to search with."""
        found: list[list[str]] = [[] for _ in sights]
        asking = {place: sight.vector for place, sight in enumerate(sights) if sight and sight.vector.any()}
        if asking:
            queries = np.stack(list(asking.values()))  # (q, d)
            for place, near in zip(asking, self.shop.index.nearest(queries, self.ranking.nearest), strict=True):
                found[place] = near
        return found

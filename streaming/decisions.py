"""What the engine answers: exactly one decision for each event, each due time and each notice."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from msgspec.structs import replace

from index.gate import Threshold
from streaming import changes, codec, gating, said
from streaming.eligible import head_of
from streaming.intake import Event
from streaming.intent import intent_of
from streaming.items import Shop
from streaming.labels import Label
from streaming.local_time import shop_offset_min
from streaming.moments import Due, Moment, Noticed, Work
from streaming.privacy import Pseudonyms
from streaming.ranking import Candidate, Common, Ranking, RankingSettings, select
from streaming.reasons import explain, explain_common
from streaming.recalibrating import Recalibration
from streaming.records import IndexVersion, Intent, Offer, Prediction, SessionClosed, Suppressed, Transition, Trigger
from streaming.rules import held_back
from streaming.said import Said
from streaming.sessions import MOST_BYTES, SessionState, closing, steps_of, user_of, utc_offset_of
from streaming.settings import RuleSettings, Settings
from streaming.topics import CATALOGUE, SOURCES
from streaming.triggers import Fired, fired

__all__ = ["Decision", "Due", "Grounds", "Mark", "Noticed", "Work", "decide", "prediction_id", "unmarked"]

Stage = Literal["met", "ranked", "fired"]
Mark = Callable[[str | None], None]


def unmarked(_stage: str | None) -> None:
    """Nobody measures."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of one event, due time or notice. Exactly one of `prediction`, `suppressed` and `silent` is set."""

    event: Work
    prediction: Prediction | None = None
    suppressed: Suppressed | None = None
    silent: str | None = None
    """Why nothing was said: a short code, for counting."""
    closed: SessionClosed | None = None
    """The session that ended here: it fell due, or its next event came too late."""
    taught: Transition | None = None
    """What the event taught about what follows what."""
    stage: Stage = "met"
    """How far it came: its session's state; a ranking; a trigger."""
    ranked: tuple[str, ...] = ()
    """The best items of its ranking before the throttle, best first, as many as `Grounds.ranked` asks for."""
    labels: tuple[Label, ...] = ()
    """What the heads say of the event's text."""


def prediction_id(event: Work, trigger: Trigger, due: int) -> str:
    """128 bits as 32 hex characters: the same for the same cause whenever and wherever it is decided.

    BLAKE2b of the parts, joined by zero bytes, which no id holds: what the site called the event, else its place on
    Kafka; of a due time session and time; of a notice the place of the catalogue's record and the session; and the
    trigger.
    """
    if isinstance(event, Due):
        parts = ["due", event.session, str(due)]
    elif isinstance(event, Noticed):
        parts = ["offset", CATALOGUE.name, str(event.change.partition), str(event.change.offset), event.session]
    elif event.event_id is not None:
        parts = ["event", event.event_id]
    else:
        source = event.source
        parts = ["offset", SOURCES[source.topic].name, str(source.partition), str(source.offset)]
    return hashlib.blake2b("\0".join([*parts, trigger]).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Grounds:
    """What decisions rest on, besides the moment and its ranking."""

    settings: Settings
    rules: RuleSettings
    """As they are now: an operator may have changed them."""
    shop: Shop
    pseudonyms: Pseudonyms
    ranking: RankingSettings
    """Of which is asked here whether an item of the history may be offered again, and how much may be of one brand."""
    now: int | None
    """Wall time for `made_at`; None: the event's time."""
    ranked: int = 0
    """How many items of each ranking decisions tell."""
    mark: Mark = unmarked
    """Hears when reasons are looked for, and when that is over."""
    threshold: Threshold | None = None
    """From which chance on predictions are sent; None: from any."""
    recalibration: Recalibration | None = None
    """Hears what is said, and corrects it; None: nothing does."""


def decide(moment: Moment, ranking: Ranking | None, told: Said, grounds: Grounds) -> tuple[Decision, Said]:
    """One decision, and what was said by then.

    A purchase of what the live prediction offered withdraws it, if nothing is sent that replaces it; no rule holds that
    back. A session has at most one live prediction.

    Args:
        ranking: None where no trigger could fire.
        told: what was said before the moment.
    """
    event, closed = moment.event, None
    if moment.ended is not None:
        closed, told = closing(event.session, replace(moment.ended, said=told)), said.NOTHING
    if isinstance(event, Due):
        told = replace(told, idle=moment.state.said.idle)
    if moment.silent is not None:
        return Decision(event, silent=moment.silent, closed=closed), _fitted(moment.state, told)
    if isinstance(event, Noticed):
        if said.was_said(told, event.change.mark):  # earlier in this batch
            return Decision(event, silent="not_due"), told
        told = said.after_marking(told, [event.change.mark])
    item_id = event.item_id if isinstance(event, Event) else None
    bought = item_id is not None and moment.kind == "purchase" and said.offered(told, item_id, moment.time)
    withdrawn = said.last_id(told) if bought and not told.held else None
    named = event.prediction_id if isinstance(event, Event) else None
    told = said.after_taking_up(told, moment.kind, item_id, moment.time, named)
    stage: Stage = "met"
    quiet = "stale" if moment.stale else "no_trigger"
    outcome: Prediction | Suppressed | str = "impression" if moment.kind == "impression" else quiet
    if ranking is not None:
        outcome, told = _speak(moment, ranking, told, withdrawn, grounds)
        stage = "ranked" if isinstance(outcome, str) else "fired"
    if withdrawn is not None and not isinstance(outcome, Prediction):
        outcome = _record(moment, "next_item", ranking, [], grounds, cancels=[withdrawn])
        told = said.after_withdrawing(told)
    ranked: tuple[str, ...] = ()
    if ranking is not None and grounds.ranked:
        ranked = head_of(ranking, moment.state, grounds.shop, count=grounds.ranked, repeat=grounds.ranking.repeat)
    decision = Decision(
        event,
        prediction=outcome if isinstance(outcome, Prediction) else None,
        suppressed=outcome if isinstance(outcome, Suppressed) else None,
        silent=outcome if isinstance(outcome, str) else None,
        closed=closed,
        taught=moment.taught,
        stage=stage,
        ranked=ranked,
    )
    return decision, _fitted(moment.state, told)


def _fitted(state: SessionState, told: Said) -> Said:
    """Of earlier predictions as many are remembered as the state has room for."""
    if len(told.predictions) <= said.ALWAYS_FIT:
        return told
    return said.fitted(told, len(codec.encode(replace(state, said=told))) - MOST_BYTES)


def _speak(
    moment: Moment, ranking: Ranking, told: Said, withdrawn: str | None, grounds: Grounds
) -> tuple[Prediction | Suppressed | str, Said]:
    """What a ranking leads to: something sent, something held back, or why neither."""
    settings, rules, time = grounds.settings, grounds.rules, moment.time
    state = replace(moment.state, said=told)
    selection = select(
        ranking,
        state,
        grounds.shop,
        time=time,
        count=settings.triggers.offers,
        cooldown_ms=rules.item_cooldown_ms,
        repeat=grounds.ranking.repeat,
        enough=rules.min_gain,
        brand_share=grounds.ranking.brand_share,
        lead=moment.lead,
    )
    items = grounds.shop.items
    if isinstance(moment.event, Noticed) and not moment.event.change.holds(items.get(moment.event.change.item_id)):
        return "outdated", told
    intent = None
    if moment.kind is not None:
        intent = intent_of(grounds.shop.intents, moment.state, moment.kind)
        _note(moment, ranking, selection.offers[: gating.OFFERS], state, grounds)
    choice = fired(
        moment,
        state,
        selection,
        settings.triggers,
        items=items,
        shift=ranking.shift,
        leaving=None if intent is None else intent.leaving,
    )
    if not isinstance(choice, Fired):
        return choice, told
    chance = _chance(ranking, selection.offers, state, grounds.shop)
    if chance is not None and grounds.recalibration is not None:
        chance = grounds.recalibration.predictions.apply_one(chance)
    live = [said.last_id(told)] if said.live(told, time) and not told.held else []
    prediction = _record(
        moment,
        choice.trigger,
        ranking,
        selection.offers or selection.gone,
        grounds,
        chance=chance,
        intent=intent,
        supersedes=[] if withdrawn else live,
        cancels=[withdrawn] if withdrawn else [],
    )
    day = said.day_of(time, utc_offset_of(state, shop_offset_min(settings.worker, time)))
    held = held_back(
        choice, state, selection, time, day, prediction.arm, rules, chance=chance, threshold=grounds.threshold
    )
    if held is None or held.rule == "holdout":  # the throttle moves in both arms
        head = said.tag(selection.head.item_id) if selection.head is not None else b""
        told = said.after_sending(
            told,
            prediction,
            head,
            day,
            rules.item_cooldown_ms,
            held=held is not None,
            marks=choice.marks,
            steps=steps_of(moment.state),
        )
    if held is None:
        return prediction, told
    if choice.trigger == "intent_shift":  # it fires again after five events, whether it was told or not
        told = replace(told, shifted=steps_of(moment.state))
    return Suppressed(prediction=prediction, rule=held.rule, detail=held.detail), told


def _chance(ranking: Ranking, offers: Sequence[Candidate], state: SessionState, shop: Shop) -> float | None:
    """That any of the offers comes within the horizon; None: nothing is offered, or the model has no gate."""
    if not offers or not shop.gate.fitted:
        return None
    scores, z = [offer.score for offer in offers], [offer.z for offer in offers]
    return shop.gate.model.probability(gating.features(scores, z, offers[0].parts, ranking.context, state.history))


def _note(moment: Moment, ranking: Ranking, offers: Sequence[Candidate], state: SessionState, grounds: Grounds) -> None:
    """What a ranking would offer, sent or not, for the recalibration."""
    if grounds.recalibration is not None and offers and ranking.calibrated and ranking.level == "full":
        items, scores = [offer.item_id for offer in offers], [offer.score for offer in offers]
        chance = _chance(ranking, offers, state, grounds.shop)
        grounds.recalibration.said(moment.event.session, moment.time, items, scores, chance)


def _record(
    moment: Moment,
    trigger: Trigger,
    ranking: Ranking | None,
    offers: Sequence[Candidate],
    grounds: Grounds,
    *,
    chance: float | None = None,
    intent: Intent | None = None,
    supersedes: Sequence[str] = (),
    cancels: Sequence[str] = (),
) -> Prediction:
    """The prediction, with a reason for each offer. Without offers it is a withdrawal."""
    shop, user = grounds.shop, user_of(moment.state)
    grounds.mark("reasons")
    if ranking is not None and isinstance(ranking.candidates, Common):
        reasons = explain_common(ranking.candidates, offers, shop)
    else:
        words = ranking.words if ranking is not None else shop.words_of(moment.state.history)
        reasons = explain(offers, moment.state.history, words, shop)
    grounds.mark("decide")
    if isinstance(moment.event, Noticed) and reasons:
        reasons[0] = [changes.reason(moment.event.change, shop.items)]
    scores = [offer.score for offer in offers]
    if grounds.recalibration is not None and ranking is not None and ranking.calibrated:
        scores = [grounds.recalibration.offers.apply_one(score) for score in scores]
    share = grounds.rules.holdout_percent  # 0: nobody is held out, and nothing has to be hashed
    held_out = share > 0 and grounds.pseudonyms.percent(user or moment.event.session) < share
    return Prediction(
        prediction_id=prediction_id(moment.event, trigger, moment.time),
        session_id=moment.event.session,
        user_id=user,
        trigger=trigger,
        items=[
            Offer(item_id=offer.item_id, score=score, reasons=why)
            for offer, score, why in zip(offers, scores, reasons, strict=True)
        ],
        calibrated=ranking is not None and ranking.calibrated,
        chance=chance,
        intent=intent,
        model=shop.model,
        index=IndexVersion(snapshot=shop.snapshot, learned=shop.learned),
        level=ranking.level if ranking is not None else "full",
        arm="holdout" if held_out else "treatment",
        event_time=moment.time,
        made_at=moment.time if grounds.now is None else grounds.now,
        expires_at=moment.time + grounds.settings.triggers.horizon_ms,
        supersedes=list(supersedes),
        cancels=list(cancels),
    )

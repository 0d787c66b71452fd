"""What holds a prediction back, asked in one order; the first that does is the reason."""

from __future__ import annotations

from dataclasses import dataclass

from index.gate import Threshold
from streaming import said
from streaming.ranking import Selection
from streaming.records import Arm, Rule
from streaming.sessions import SessionState, consent_of
from streaming.settings import RuleSettings
from streaming.triggers import Fired


@dataclass(frozen=True, slots=True)
class Held:
    """The rule that holds it back, and the figures behind that."""

    rule: Rule
    detail: str


def held_back(
    fired: Fired,
    state: SessionState,
    selection: Selection,
    time: int,
    day: int,
    arm: Arm,
    rules: RuleSettings,
    *,
    chance: float | None = None,
    threshold: Threshold | None = None,
) -> Held | None:
    """The first rule that forbids sending; None: it is sent.

    `gone`: all that would be offered was bought or went out of stock. The intervals hold both ways, so that a late
    event does not slip through. `small_gain` compares with what is live; where nothing is, nothing is too little.
    `unsure` is asked where a threshold is given. The hold-out comes last, so that both arms see the same throttle.

    Args:
        time: the event's.
        day: its day number in the visitor's time zone.
        chance: that any of the offers comes.
        threshold: of the precision that was asked for; None: none was.
    """
    told = state.said
    if not consent_of(state, rules.assume_consent):
        return Held("no_consent", "the visitor has not agreed" if state.consent else "consent is not assumed")
    if not selection.offers:
        return Held("gone", f"{len(selection.gone)} items were bought or are out of stock, no other is left")
    last = said.last_time(told, fired.trigger)
    if last and time - last < rules.trigger_cooldown_ms:
        return Held("trigger_cooldown", f"{time - last} ms after the last {fired.trigger}")
    if told.sent_at and time - told.sent_at < rules.quiet_ms:
        return Held("quiet", f"{time - told.sent_at} ms after the last prediction")
    if (today := said.sent_on(told, day)) >= rules.daily_cap:
        return Held("daily_cap", f"{today} predictions today")
    if said.live(told, time) and fired.gain < rules.min_gain:
        return Held("small_gain", f"a gain of {fired.gain:.4f} over what is live")
    if threshold is not None and chance is not None and chance < threshold.probability:
        return Held("unsure", f"a chance of {chance:.4f}, under {threshold.probability:.4f} for {threshold.precision}")
    if arm == "holdout":
        return Held("holdout", f"one of the {rules.holdout_percent} % who are sent nothing")
    return None

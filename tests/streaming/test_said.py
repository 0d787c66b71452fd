import pytest

from streaming import bloom, said
from streaming.records import IndexVersion, Offer, Outcome, Prediction
from streaming.said import NOTHING, Said

HOUR = 3_600_000
COOLDOWN = HOUR


def prediction(time: int, *items: str, trigger: str = "next_item") -> Prediction:
    return Prediction(
        prediction_id=f"{time:032x}",
        session_id="s",
        trigger=trigger,  # type: ignore[arg-type]
        items=[Offer(item_id=item, score=0.5, reasons=[]) for item in items],
        model="m",
        index=IndexVersion(snapshot="i"),
        level="full",
        arm="treatment",
        event_time=time,
        made_at=time,
        expires_at=time + HOUR,
    )


def sent(told: Said, time: int, *items: str, day: int = 0, held: bool = False) -> Said:
    return said.after_sending(told, prediction(time, *items), b"head", day, COOLDOWN, held=held)


def is_barred(item_id: str, told: Said, time: int, cooldown_ms: int) -> bool:
    return any(bloom.contains(each, item_id) for each in said.barred(told, time, cooldown_ms))


def test_an_item_is_barred_for_one_to_one_and_a_half_cooldowns() -> None:
    for first in range(0, COOLDOWN, COOLDOWN // 16):  # wherever in its half cool-down it falls
        told = sent(sent(NOTHING, 10 * HOUR, "other"), 10 * HOUR + first, "tea")
        at = 10 * HOUR + first
        assert all(is_barred("tea", told, at + after, COOLDOWN) for after in range(0, COOLDOWN, 60_000))
        assert not is_barred("tea", told, at + COOLDOWN * 3 // 2 + 1, COOLDOWN)


def test_later_predictions_do_not_shorten_the_bar() -> None:
    told = sent(NOTHING, HOUR, "tea")
    for minute in range(1, 60):
        told = sent(told, HOUR + minute * 60_000, f"item {minute}")
        assert is_barred("tea", told, HOUR + minute * 60_000, COOLDOWN)


def test_a_late_event_finds_and_puts_everything_barred() -> None:
    told = sent(NOTHING, 10 * HOUR, "tea")
    assert is_barred("tea", told, 2 * HOUR, COOLDOWN)
    told = sent(told, 9 * HOUR, "mug")
    assert is_barred("mug", told, 9 * HOUR + COOLDOWN - 1, COOLDOWN)


def test_a_long_silence_clears_the_bars() -> None:
    told = sent(sent(NOTHING, HOUR, "tea"), 100 * HOUR, "mug")
    assert not is_barred("tea", told, 100 * HOUR, COOLDOWN)
    assert is_barred("mug", told, 100 * HOUR, COOLDOWN)


def test_without_a_cooldown_nothing_is_barred() -> None:
    told = said.after_sending(NOTHING, prediction(HOUR, "tea"), b"", 0, 0, held=False)
    assert not is_barred("tea", told, HOUR, 0)
    assert said.offered(told, "tea", HOUR)


def test_a_day_counts_for_itself() -> None:
    told = sent(sent(NOTHING, HOUR, "a", day=5), 2 * HOUR, "b", day=5)
    assert (said.sent_on(told, 5), said.sent_on(told, 6)) == (2, 0)
    told = sent(told, 30 * HOUR, "c", day=6)
    assert (said.sent_on(told, 6), said.sent_on(told, 5)) == (1, 1)  # a late event cannot get round the cap


@pytest.mark.parametrize(("minutes", "day"), [(0, 0), (60, 1), (-60, 0), (840, 1)])
def test_days_begin_at_the_visitors_midnight(minutes: int, day: int) -> None:
    assert said.day_of(86_400_000 - 1, minutes) == day


def test_offers_taken_up_are_counted_while_they_are_live() -> None:
    told = sent(NOTHING, HOUR, "tea", "mug")
    told = said.after_taking_up(told, "view", "tea", HOUR + 1)
    told = said.after_taking_up(told, "view", "saw", HOUR + 1)
    told = said.after_taking_up(told, "purchase", "mug", HOUR + 2)
    told = said.after_taking_up(told, "click", "mug", 2 * HOUR)  # expired
    told = said.after_taking_up(told, "exit", None, HOUR + 2)
    assert dict(zip(said.BECAME, told.became, strict=True)) == {"view": 1, "click": 0, "cart_add": 0, "purchase": 1}


def test_the_hold_out_moves_the_throttle_and_nothing_else() -> None:
    shown, kept = sent(NOTHING, HOUR, "tea"), sent(NOTHING, HOUR, "tea", held=True)
    assert (shown.sent_at, shown.today, shown.triggered, shown.told) == (
        kept.sent_at,
        kept.today,
        kept.triggered,
        kept.told,
    )
    assert (shown.sent, kept.sent) == (1, 0)
    after = said.after_taking_up(kept, "view", "tea", HOUR)
    assert after.became == NOTHING.became
    (outcome,) = said.outcomes(after)
    assert (outcome.held, outcome.viewed) == (True, 1)  # what would have been, to compare with


def test_a_withdrawn_prediction_is_not_live_but_its_items_stay_barred() -> None:
    told = said.after_withdrawing(sent(NOTHING, HOUR, "tea"))
    assert not said.live(told, HOUR + 1)
    assert not said.offered(told, "tea", HOUR + 1)
    assert is_barred("tea", told, HOUR + 1, COOLDOWN)


# ------------------------------------------------------------------------------------------- what became of each
def test_what_became_of_each_prediction_is_kept_apart() -> None:
    told = sent(sent(NOTHING, HOUR, "tea", "mug"), 2 * HOUR, "mug", "pot")
    for kind, item in (("view", "mug"), ("view", "pot"), ("cart_add", "pot"), ("purchase", "pot"), ("click", "tea")):
        told = said.after_taking_up(told, kind, item, 2 * HOUR + 1)
    first, second = said.outcomes(told)
    assert first == Outcome(f"{HOUR:032x}", "next_item")
    assert second == Outcome(f"{2 * HOUR:032x}", "next_item", viewed=2, carted=1, purchased=1)
    assert told.became == (2, 0, 1, 1)


def test_an_event_that_names_a_prediction_counts_for_that_one_for_as_long_as_it_is_remembered() -> None:
    told = sent(sent(NOTHING, HOUR, "tea"), 2 * HOUR, "tea")
    told = said.after_taking_up(told, "click", "tea", 9 * HOUR, f"{HOUR:032x}")  # the live one has it too, and expired
    told = said.after_taking_up(told, "click", "tea", 2 * HOUR, "somebody else's")
    first, second = said.outcomes(told)
    assert (first.clicked, second.clicked) == (1, 1)
    assert told.became == (0, 2, 0, 0)


def test_an_outcome_counts_to_15_and_the_sum_goes_on() -> None:
    told = sent(NOTHING, HOUR, "tea")
    for _ in range(20):
        told = said.after_taking_up(told, "click", "tea", HOUR)
    (outcome,) = said.outcomes(told)
    assert (outcome.viewed, outcome.clicked, outcome.carted) == (0, 15, 0)
    assert told.became == (0, 20, 0, 0)


def test_the_newest_predictions_are_remembered() -> None:
    told = NOTHING
    for n in range(1, 21):
        told = sent(told, n * HOUR, "tea")
    assert [outcome.prediction_id for outcome in said.outcomes(told)] == [f"{n * HOUR:032x}" for n in range(9, 21)]
    assert said.last_id(told) == f"{20 * HOUR:032x}"
    assert (said.last_id(NOTHING), said.outcomes(NOTHING)) == ("", [])


@pytest.mark.parametrize(("over", "kept"), [(-5, 12), (0, 12), (1, 11), (19, 11), (20, 10), (150, 4), (10_000, 3)])
def test_where_room_is_short_the_oldest_go_and_three_stay(over: int, kept: int) -> None:
    told = NOTHING
    for n in range(1, 13):
        told = sent(told, n * HOUR, "tea")
    fitted = said.fitted(told, over)
    assert said.outcomes(fitted) == said.outcomes(told)[-kept:]
    assert len(told.predictions) - len(fitted.predictions) >= min(over, 19 * 9)


# ------------------------------------------------------------------------------------------- what is said once
def test_each_trigger_remembers_when_it_last_sent() -> None:
    told = NOTHING
    for n, trigger in enumerate(said.TRIGGERS):
        told = said.after_sending(told, prediction(HOUR + n, "tea", trigger=trigger), b"", 0, 0, held=False)
    assert [said.last_time(told, trigger) for trigger in said.TRIGGERS] == [HOUR + n for n in range(8)]
    late = said.after_sending(told, prediction(5, "tea", trigger="cart_idle"), b"", 0, 0, held=False)
    assert said.last_time(late, "cart_idle") == 5
    assert late.sent_at == told.sent_at
    assert said.last_time(NOTHING, "exit_intent") == 0


def test_what_is_long_ago_is_not_never() -> None:
    told = sent(NOTHING, HOUR, "tea")
    told = said.after_sending(told, prediction(10_000 * HOUR, "tea", trigger="cart_idle"), b"", 0, 0, held=False)
    assert said.last_time(told, "next_item") == 10_000 * HOUR - said.MOST + 1


def test_marks_and_shifts_stay() -> None:
    told = said.after_sending(NOTHING, prediction(HOUR, "tea"), b"", 0, 0, held=False, marks=["item tea"], steps=7)
    assert said.was_said(told, "item tea")
    assert not said.was_said(told, "item mug")
    assert told.shifted == 0
    shift = prediction(2 * HOUR, "tea", trigger="intent_shift")
    told = said.after_sending(told, shift, b"", 0, 0, held=True, steps=9)
    assert (told.shifted, said.was_said(told, "item tea")) == (9, True)
    assert said.was_said(said.after_marking(told, ["price"]), "price")

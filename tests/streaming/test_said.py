import pytest

from streaming import said
from streaming.records import IndexVersion, Offer, Prediction
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


def test_an_item_is_barred_for_one_to_one_and_a_half_cooldowns() -> None:
    for first in range(0, COOLDOWN, COOLDOWN // 16):  # wherever in its half cool-down it falls
        told = sent(sent(NOTHING, 10 * HOUR, "other"), 10 * HOUR + first, "tea")
        at = 10 * HOUR + first
        assert all("tea" in said.barred(told, at + after, COOLDOWN) for after in range(0, COOLDOWN, 60_000))
        assert "tea" not in said.barred(told, at + COOLDOWN * 3 // 2 + 1, COOLDOWN)


def test_later_predictions_do_not_shorten_the_bar() -> None:
    told = sent(NOTHING, HOUR, "tea")
    for minute in range(1, 60):
        told = sent(told, HOUR + minute * 60_000, f"item {minute}")
        assert "tea" in said.barred(told, HOUR + minute * 60_000, COOLDOWN)


def test_a_late_event_finds_and_puts_everything_barred() -> None:
    told = sent(NOTHING, 10 * HOUR, "tea")
    assert "tea" in said.barred(told, 2 * HOUR, COOLDOWN)
    told = sent(told, 9 * HOUR, "mug")
    assert "mug" in said.barred(told, 9 * HOUR + COOLDOWN - 1, COOLDOWN)


def test_a_long_silence_clears_the_bars() -> None:
    told = sent(sent(NOTHING, HOUR, "tea"), 100 * HOUR, "mug")
    assert "tea" not in said.barred(told, 100 * HOUR, COOLDOWN)
    assert "mug" in said.barred(told, 100 * HOUR, COOLDOWN)


def test_without_a_cooldown_nothing_is_barred() -> None:
    told = said.after_sending(NOTHING, prediction(HOUR, "tea"), b"", 0, 0, held=False)
    assert "tea" not in said.barred(told, HOUR, 0)
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
    assert said.after_taking_up(kept, "view", "tea", HOUR) == kept


def test_a_withdrawn_prediction_is_not_live_but_its_items_stay_barred() -> None:
    told = said.after_withdrawing(sent(NOTHING, HOUR, "tea"))
    assert not said.live(told, HOUR + 1)
    assert not said.offered(told, "tea", HOUR + 1)
    assert "tea" in said.barred(told, HOUR + 1, COOLDOWN)

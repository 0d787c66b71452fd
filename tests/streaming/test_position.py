from __future__ import annotations

import random
from pathlib import Path

import pytest

from streaming.errors import InputError
from streaming.position import PositionFile, Watermark


def test_the_watermark_waits_at_a_gap() -> None:
    watermark = Watermark(10)
    for number in (12, 11, 14):
        watermark.confirm(number)
    assert watermark.confirmed == 10
    watermark.confirm(10)
    assert watermark.confirmed == 13


def test_all_confirmed_in_any_order_is_all() -> None:
    numbers = list(range(500))
    random.Random(7).shuffle(numbers)
    watermark = Watermark()
    for number in numbers:
        watermark.confirm(number)
    assert watermark.confirmed == 500


def test_a_position_is_kept_and_found_again(tmp_path: Path) -> None:
    file = PositionFile(tmp_path / "at.json", {"log": "shop", "records": 9})
    assert file.load() == 0
    file.save(4)
    assert PositionFile(tmp_path / "at.json", {"log": "shop", "records": 9}).load() == 4
    assert [path.name for path in tmp_path.iterdir()] == ["at.json"]


def test_the_position_of_another_replay_is_refused(tmp_path: Path) -> None:
    PositionFile(tmp_path / "at.json", {"log": "shop"}).save(4)
    with pytest.raises(InputError, match="another replay"):
        PositionFile(tmp_path / "at.json", {"log": "other"}).load()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"confirmed": 3}'])
def test_what_is_no_position_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "at.json").write_text(text)
    with pytest.raises(InputError, match="no position of a replay"):
        PositionFile(tmp_path / "at.json", {}).load()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--resume"):
        PositionFile(tmp_path / "nowhere" / "at.json", {}).save(1)

"""Bad input is data: one dead letter each, with reason and source; the good events beside it are decided."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from kafka import KafkaProducer
from kafka.errors import KafkaError

from streaming import codec, connections, topics
from streaming.errors import InputError
from streaming.privacy import pseudonym
from streaming.producer import EventProducer
from streaming.records import EventRecord, Item
from streaming.settings import Settings
from streaming.worker_process import WorkerProcess
from tests.conftest import SECRET
from tests.stage import Stage, eventually, now_ms

YEAR_9999 = 253_380_000_000_000
PLAIN = {"v": 1, "kind": "view", "session_id": "bad", "item_id": "i1"}


def _bad_rows(now: int) -> dict[str, tuple[bytes | None, bytes | None, str]]:
    """What is wrong with a payload: its key, its value, and the reason that its dead letter must give."""

    def packed(**changes: Any) -> bytes:
        return msgpack.packb(PLAIN | {"time": now} | changes)

    good = packed()
    nested = b"\x91" * 100_000 + b"\xc0"  # a list in a list in a list ...
    return {
        "empty": (b"bad", b"", "empty"),
        "null": (b"bad", None, "null_value"),
        "truncated": (b"bad", good[: len(good) // 2], "not_msgpack"),
        "JSON": (b"bad", b'{"kind": "view"}', "wrong_type"),
        "wrong type": (b"bad", packed(quantity="two"), "wrong_type"),
        "a list": (b"bad", msgpack.packb([1, 2, 3]), "wrong_type"),
        "1.5 MB": (b"bad", packed(description="x" * 1_500_000), "oversize"),
        "unknown version": (b"bad", packed(v=99), "unknown_version"),
        "null key": (None, good, "null_key"),
        "key unlike the session": (b"other", good, "key_mismatch"),
        "wrong encoding": (b"bad", packed(title="caf~").replace(b"~", b"\xe9"), "not_msgpack"),
        "item id of 1 MB": (b"bad", packed(item_id="i" * 1_000_000), "bad_id"),
        "NaN price": (b"bad", packed(price=math.nan), "wrong_type"),
        "infinite price": (b"bad", packed(price=math.inf), "wrong_type"),
        "year 1970": (b"bad", packed(time=0), "bad_time"),
        "year 9999": (b"bad", packed(time=YEAR_9999), "bad_time"),
        "deep nesting": (b"bad", packed(more=0)[:-1] + nested, "too_deep"),
        "a bomb": (b"bad", b"\x82\xa1v\x01\xa8quantity\xdd\xff\xff\xff\xff", "not_msgpack"),
        "wrong topic": (b"bad", packed(kind="purchase"), "wrong_topic"),
    }


def test_each_leaves_one_dead_letter_and_the_good_ones_are_decided(
    stage: Stage, worker: Callable[..., WorkerProcess]
) -> None:
    stage.put_items([Item(item_id=f"i{n}", title=f"red lamp {n}") for n in range(20)])
    now = now_ms()
    bad = _bad_rows(now)
    sent: dict[tuple[bytes, int, int], str] = {}
    good: list[str] = []
    for what, (key, value, _) in bad.items():
        name = f"good beside {what}"
        good.append(name)
        event = EventRecord(kind="view", session_id=name, time=now, item_id="i1")
        stage.send(topics.BROWSES, [(name.encode(), codec.encode(event))], partition=0)
        (where,) = stage.send(topics.BROWSES, [(key, value)], partition=0)
        sent[(where.topic.encode(), where.partition, where.offset)] = what
    worker()
    wanted = {pseudonym(name, SECRET) for name in good}
    eventually(lambda: {p.session_id for p in stage.spoken().values()}, lambda seen: seen >= wanted, 60)
    letters = eventually(lambda: stage.raw(topics.DEAD_LETTERS), lambda rows: len(rows) >= len(bad))

    found: dict[str, Any] = {}
    for letter in letters:
        headers = dict(letter.headers)
        what = sent[(headers["topic"], int(headers["partition"]), int(headers["offset"]))]
        assert what not in found, f"two dead letters for {what}"
        found[what] = letter
        key, value, reason = bad[what]
        assert headers["error"].decode() == reason, what
        assert len(headers["message"]) > 20
        assert headers["attempt"] == b"1"
        assert letter.key == key
        if what == "1.5 MB":
            assert value is not None
            assert letter.value == value[: topics.KEPT_BYTES]
            assert headers["truncated"] == b"1"
            assert int(headers["length"]) == len(value)
            assert headers["sha256"].decode() == hashlib.sha256(value).hexdigest()
        else:
            assert letter.value == value
    assert found.keys() == bad.keys()


def test_10_mb_is_an_error_at_its_producer(stage: Stage, settings: Settings) -> None:
    with EventProducer(settings) as producer, pytest.raises(InputError, match="title"):
        producer.send(kind="view", session_id="s", item_id="i", title="x" * 10_000_000)
    assert stage.raw(topics.BROWSES) == []


@pytest.mark.parametrize("back_end", ["kafka"], indirect=True)
def test_the_broker_refuses_10_mb_of_any_producer(stage: Stage, settings: Settings) -> None:
    careless = KafkaProducer(**connections.kafka_python(settings), max_request_size=20_000_000)
    try:
        with pytest.raises(KafkaError):
            careless.send(settings.topics.prefix + topics.BROWSES.name, b"x" * 10_000_000, b"s").get(timeout=30)
    finally:
        careless.close()
    assert stage.raw(topics.BROWSES) == []

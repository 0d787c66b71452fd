"""The golden vectors as plain data: what tests/vectors/NAME.msgpack says.

The files are what other people's readers and writers are tried against. They are never made anew while the
schema version stays: a record that gains a field gains a vector. `python -m tests.streaming.vectors` writes
those that are missing, and only those.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgpack

from streaming import codec
from streaming.labels import Label
from streaming.records import (
    Control,
    EventRecord,
    Facts,
    Item,
    Learned,
    Prediction,
    Receipt,
    Record,
    SessionClosed,
    Suppressed,
    Tick,
)

FOLDER = Path(__file__).parents[1] / "vectors"
TIME = 1_700_000_000_000
PSEUDONYM = "942ba16857b2375306bf9efc6845e236"

PREDICTION: dict[str, Any] = {
    "v": 1,
    "prediction_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    "session_id": PSEUDONYM,
    "trigger": "next_item",
    "items": [
        {
            "item_id": "sku-7",
            "score": 0.25,
            "reasons": [
                {"code": "near", "sentence": "It is like Red shoe, which you looked at.", "items": ["sku-1"]},
                {"code": "popular", "sentence": "Many visitors want it."},
            ],
        }
    ],
    "model": "all-MiniLM-L6-v2",
    "index": {"snapshot": "5f2c", "learned": 12},
    "level": "full",
    "arm": "treatment",
    "event_time": TIME,
    "made_at": TIME + 40,
    "expires_at": TIME + 1_800_000,
}

VECTORS: dict[str, tuple[type[Record], dict[str, Any]]] = {
    "event-smallest": (EventRecord, {"v": 1, "kind": "exit", "session_id": "s", "time": 946_684_800_000}),
    "event-search": (
        EventRecord,
        {"v": 1, "kind": "search", "session_id": "visitor-1", "time": TIME, "query": "chaussures d'été 👟"},
    ),
    "event-whole": (
        EventRecord,
        {
            "v": 1,
            "kind": "purchase",
            "session_id": "visitor-1",
            "time": TIME,
            "user_id": "user-1",
            "item_id": "商品-1",
            "title": "Red shoe",
            "quantity": 2,
            "price": 49.5,
            "currency": "EUR",
            "dwell_ms": 0,
            "prediction_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
            "event_id": "e-1",
            "consent": False,
            "utc_offset_min": -210,
        },
    ),
    "tick": (Tick, {"v": 1, "time": TIME}),
    "item-smallest": (Item, {"v": 1, "item_id": "sku-1", "title": "Red shoe"}),
    "item-whole": (
        Item,
        {
            "v": 1,
            "item_id": "sku-1",
            "title": "Red shoe",
            "brand": "Acme",
            "category": "Shoes > Women > Red",
            "price": 49.5,
            "currency": "EUR",
            "stock": 0,
            "description": "A shoe that is red.",
            "image": "https://shop.example/sku-1.jpg",
            "attributes": {"size": 38.0, "leather": True, "heel": None, "sole": "rubber"},
            "available": False,
        },
    ),
    "facts": (
        Facts,
        {
            "v": 1,
            "head": "sku-1",
            "facts": [{"relation": "also_bought", "tail": "sku-7"}, {"relation": "brand", "tail": "Acme"}],
        },
    ),
    "control-forget": (Control, {"v": 1, "control_id": "c-1", "action": "forget", "user_id": "user-1"}),
    "control-set-rule": (
        Control,
        {"v": 1, "control_id": "c-2", "action": "set_rule", "rule": "daily_cap", "value": 5.0},
    ),
    "control-switch-model": (
        Control,
        {"v": 1, "control_id": "c-3", "action": "switch_model", "model": "/models/2024-01"},
    ),
    "learned": (
        Learned,
        {
            "v": 1,
            "topic": "clicks",
            "partition": 3,
            "transitions": [[2**40, "sku-1", "sku-7", "cart_add"], [2**40 + 1, "sku-7", "sku-1", "purchase"]],
        },
    ),
    "learned-context": (
        Learned,
        {
            "v": 1,
            "topic": "browses",
            "partition": 0,
            "transitions": [
                [7, "", "sku-1", "view", TIME, -(2**63), 2**32 - 1, []],
                [8, "sku-1", "sku-7", "click", TIME + 1, 2**63 - 1, 0, ["sku-1"]],
                [9, "sku-7", "sku-7", "view", TIME + 2, 1, 1, ["sku-7", ""]],
            ],
        },
    ),
    "prediction": (Prediction, PREDICTION),
    "prediction-reasons": (
        Prediction,
        PREDICTION
        | {
            "trigger": "price_drop",
            "items": [
                {
                    "item_id": "sku-1",
                    "score": 0.5,
                    "reasons": [
                        {
                            "code": "price_drop",
                            "sentence": "Red shoe: now 39.00 EUR, before 49.50 EUR.",
                            "items": ["sku-1"],
                            "sentence_zh": "Red shoe：现价 39.00 EUR，原价 49.50 EUR。",
                            "old_price": 49.5,
                            "price": 39.0,
                        }
                    ],
                },
                {
                    "item_id": "sku-7",
                    "score": 0.25,
                    "reasons": [
                        {
                            "code": "path",
                            "sentence": "Also bought with what Acme makes.",
                            "items": ["sku-1"],
                            "facts": [["sku-1", "brand", "Acme"], ["sku-7", "also_bought", "sku-1"]],
                        },
                        {
                            "code": "neighbours",
                            "sentence": "Visitors like you took it.",
                            "items": ["sku-1"],
                            "visitors": 2,
                        },
                    ],
                },
            ],
        },
    ),
    "prediction-cancels": (
        Prediction,
        PREDICTION
        | {
            "user_id": "6f4b6f0d2a3c4e5f60718293a4b5c6d7",
            "items": [],
            "calibrated": True,
            "intent": {"purchase": 0.5, "leaving": 0.125},
            "supersedes": ["00112233445566778899aabbccddeeff"],
            "cancels": ["ffeeddccbbaa99887766554433221100"],
        },
    ),
    "suppressed": (
        Suppressed,
        {
            "v": 1,
            "prediction": PREDICTION,
            "rule": "quiet",
            "detail": "4 s after the last one, expected 20 s",
        },
    ),
    "suppressed-unsure": (
        Suppressed,
        {
            "v": 1,
            "prediction": {**PREDICTION, "chance": 0.25, "intent": {"purchase": 0.03125, "leaving": 0.5}},
            "rule": "unsure",
            "detail": "a chance of 0.2500, under 0.3125 for 0.3",
        },
    ),
    "session-closed": (
        SessionClosed,
        {
            "v": 1,
            "session_id": PSEUDONYM,
            "events": {"clicks": 2, "browses": 5},
            "digest": 2**64 - 1,
            "first_time": TIME,
            "last_time": TIME + 60_000,
            "sent": 3,
            "became": {"view": 2, "purchase": 1},
        },
    ),
    "session-closed-outcomes": (
        SessionClosed,
        {
            "v": 1,
            "session_id": PSEUDONYM,
            "events": {"clicks": 2},
            "digest": 7,
            "first_time": TIME,
            "last_time": TIME + 60_000,
            "sent": 1,
            "became": {"click": 15, "purchase": 1},
            "predictions": [
                {"prediction_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0", "trigger": "cold_start", "held": True},
                {
                    "prediction_id": "1f1e2d3c4b5a69788796a5b4c3d2e1f0",
                    "trigger": "back_in_stock",
                    "clicked": 15,
                    "purchased": 1,
                },
            ],
        },
    ),
    "label-class": (
        Label,
        {
            "v": 1,
            "label_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
            "head": "interest",
            "model": "3f2a1b0c9d8e",
            "session_id": PSEUDONYM,
            "user_id": "6f4b6f0d2a3c4e5f60718293a4b5c6d7",
            "subject": "item",
            "item_id": "sku-1",
            "kind": "view",
            "event_id": "e-1",
            "topic": "browses",
            "partition": 3,
            "offset": 2**40,
            "label": "interest",
            "probabilities": {"interest": 0.75, "disinterest": 0.25},
            "event_time": TIME,
            "made_at": TIME + 40,
        },
    ),
    "label-value": (
        Label,
        {
            "v": 1,
            "label_id": "1f1e2d3c4b5a69788796a5b4c3d2e1f0",
            "head": "days",
            "model": "3f2a1b0c9d8e",
            "session_id": PSEUDONYM,
            "subject": "query",
            "kind": "search",
            "topic": "browses",
            "partition": 0,
            "offset": 0,
            "value": -2.5,
            "event_time": TIME,
            "made_at": TIME,
        },
    ),
    "receipt": (
        Receipt,
        {
            "v": 1,
            "control_id": "c-1",
            "done": False,
            "worker": "w0",
            "time": TIME,
            "why": "no such rule: dayly_cap, expected one of daily_cap, quiet_ms",
        },
    ),
}
"""Name of the file: the record's type, and the map that is in it. A field at its default is not."""

READ_ONLY = frozenset({"learned"})
"""As an earlier release wrote them: arrays that end where its fields did. This one writes all of an array's fields."""


def path(name: str) -> Path:
    return FOLDER / f"{name}.msgpack"


if __name__ == "__main__":
    for name, (kind, fields) in VECTORS.items():
        if not path(name).exists():
            path(name).write_bytes(codec.encode(codec.decode(msgpack.packb(fields), kind)))
            print(path(name))

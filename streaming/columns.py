"""What every column of a shop's tables must be, and how a wrong value is told.

A rule is a polars expression, so that a table of any size is checked at the speed of its reading. Bounds are
those of `streaming.records`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Literal, get_args

import polars as pl

from streaming.records import EARLIEST, MAX_ID_BYTES, Kind
from streaming.tables import BROKEN

LATEST = 253_402_300_799_999
_DAMAGED = "\N{REPLACEMENT CHARACTER}"

Type = Literal["id", "text", "time", "whole", "amount", "flag", "kind", "currency", "json", "split"]
DTYPES: dict[Type, type[pl.DataType]] = {
    "id": pl.String,
    "text": pl.String,
    "time": pl.Int64,
    "whole": pl.Int64,
    "amount": pl.Float64,
    "flag": pl.Boolean,
    "kind": pl.String,
    "currency": pl.String,
    "json": pl.String,
    "split": pl.String,
}
SPLITS = ("train", "valid", "test")
"""What part an event has where a shop's past is cut to measure on it."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    name: str
    type: Type
    required: bool = False
    low: float = 0
    high: float = 0
    """Bounds of a number; for a text, the most characters."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a row may break: `bad` is true, never null, where it does."""

    name: str
    column: str
    bad: pl.Expr
    expectation: str
    remedy: str


EVENTS = (
    Column("kind", "kind", required=True),
    Column("session_id", "id", required=True),
    Column("time", "time", required=True),
    Column("user_id", "id"),
    Column("item_id", "id"),
    Column("query", "text", high=1000),
    Column("quantity", "whole", low=1, high=1_000_000),
    Column("price", "amount", high=1e12),
    Column("currency", "currency"),
    Column("dwell_ms", "whole", high=86_400_000),
    Column("prediction_id", "id"),
    Column("event_id", "id"),
    Column("consent", "flag"),
    Column("utc_offset_min", "whole", low=-840, high=840),
    Column("split", "split"),
)
ITEMS = (
    Column("item_id", "id", required=True),
    Column("title", "text", required=True, high=2000),
    Column("brand", "text", high=256),
    Column("category", "text", high=1000),
    Column("price", "amount", high=1e12),
    Column("currency", "currency"),
    Column("stock", "whole", high=2**53),
    Column("description", "text", high=20_000),
    Column("image", "text", high=2000),
    Column("attributes", "json", high=1_000_000),
    Column("available", "flag"),
)
FACTS = (
    Column("head", "id", required=True),
    Column("relation", "id", required=True),
    Column("tail", "id", required=True),
)
TABLES: dict[str, tuple[Column, ...]] = {"events": EVENTS, "items": ITEMS, "facts": FACTS}


def readable(column: Column, dtype: pl.DataType) -> bool:
    """Can values of this type be read and shown; if not, no row of the file can be.

    >>> readable(EVENTS[0], pl.Categorical()), readable(EVENTS[0], pl.List(pl.String))
    (True, False)
    """
    if isinstance(dtype, pl.Struct):
        return column.type == "json"
    return not (dtype.is_nested() or isinstance(dtype, pl.Binary | pl.Duration | pl.Object))


def parsed(column: Column, dtype: pl.DataType) -> pl.Expr:
    """The column's value in its type; null where it is missing or cannot be read as one."""
    raw = pl.col(column.name)
    match column.type:
        case "time" | "whole":
            if isinstance(dtype, pl.Datetime | pl.Date):
                return raw.dt.epoch("ms")
            if dtype.is_integer():
                return raw.cast(pl.Int64, strict=False)
            number = raw.str.strip_chars().cast(pl.Float64, strict=False) if dtype == pl.String else _number(raw, dtype)
            whole = pl.when(number == number.round()).then(number).cast(pl.Int64, strict=False)
            return (
                pl.coalesce(raw.str.strip_chars().cast(pl.Int64, strict=False), whole) if dtype == pl.String else whole
            )
        case "amount":
            return _number(raw.str.strip_chars() if dtype == pl.String else raw, dtype)
        case "flag":
            if dtype == pl.Boolean:
                return raw
            word = raw.cast(pl.String, strict=False).str.to_lowercase().str.strip_chars()
            return (
                pl.when(word.is_in(["true", "1", "1.0"])).then(True).when(word.is_in(["false", "0", "0.0"])).then(False)
            )
        case "json" if isinstance(dtype, pl.Struct):
            return raw.struct.json_encode()
    text = raw if dtype == pl.String else raw.cast(pl.String, strict=False)
    return pl.when(text.str.len_bytes() > 0).then(text)


def rules(table: str, schema: pl.Schema) -> list[Rule]:
    """All rules of a table, in the order they are asked: a row is told by the first that it breaks."""
    present = [column for column in TABLES[table] if column.name in schema]
    all_rules = []
    if BROKEN in schema:
        expectation = "a row that can be taken apart"
        all_rules.append(Rule("broken_row", BROKEN, pl.col(BROKEN).is_not_null(), expectation, "repair the line"))
    for column in present:
        all_rules += _of_column(column, schema[column.name])
    if table == "events":
        all_rules += _of_kinds(schema)
    return all_rules


def _of_column(column: Column, dtype: pl.DataType) -> list[Rule]:
    name, value = column.name, parsed(column, dtype)
    raw = pl.col(name)
    there = (raw.str.len_bytes() > 0).fill_null(False) if dtype == pl.String else raw.is_not_null()

    def rule(code: str, bad: pl.Expr, expectation: str, remedy: str) -> Rule:
        return Rule(code, name, bad.fill_null(False), expectation, remedy)

    found = []
    if column.required:
        found.append(rule("missing", ~there, "a value", "fill it in"))
    if dtype == pl.String:
        broken = value.str.contains(_DAMAGED, literal=True) if DTYPES[column.type] == pl.String else pl.lit(False)
        found.append(rule("wrong_encoding", broken, "UTF-8", "save the file as UTF-8"))
    match column.type:
        case "id":
            text = "an id of 1 to 256 bytes of UTF-8 without control characters"
            found.append(rule("bad_id", value.str.len_bytes() > MAX_ID_BYTES, text, "shorten or hash it"))
            found.append(rule("bad_id", value.str.contains(r"\p{Cc}"), text, "take the control characters out"))
        case "text" | "json":
            most = f"at most {column.high:,.0f} characters"
            found.append(rule("too_long", value.str.len_chars() > column.high, most, "shorten it"))
            if column.type == "json":
                flat = "a JSON object of texts, numbers, true, false and null"
                wrong = ~value.map_elements(_is_flat_object, return_dtype=pl.Boolean)
                found.append(rule("not_attributes", wrong, flat, 'write it like {"colour": "red"}'))
        case "currency":
            found.append(rule("bad_currency", value.str.len_chars() != 3, "three letters, such as EUR", "use ISO 4217"))
        case "kind":
            kinds = get_args(Kind)
            found.append(
                rule("unknown_kind", ~value.is_in(kinds), "one of " + ", ".join(kinds), "map it to one of them")
            )
        case "split":
            found.append(
                rule("unknown_split", ~value.is_in(SPLITS), "one of " + ", ".join(SPLITS), "correct it, or empty it")
            )
        case "flag":
            found.append(rule("not_a_flag", there & value.is_null(), "true or false", "write true or false"))
        case "time":
            found.append(
                rule("not_a_number", there & value.is_null(), "whole milliseconds", "write ms since the epoch")
            )
            seconds = (value < EARLIEST) & (value * 1000).is_between(EARLIEST, LATEST) & (value > EARLIEST // 1000)
            found.append(rule("seconds", seconds, "milliseconds since the epoch", "it looks like seconds: times 1000"))
            early = value < EARLIEST
            found.append(
                rule("time_out_of_range", early, "a time from 2000-01-01 on", "write ms since the epoch in UTC")
            )
            late = value > LATEST
            finer = "it looks like micro- or nanoseconds: divide by 1,000 or 1,000,000"
            found.append(rule("time_out_of_range", late, "milliseconds since the epoch, up to year 9999", finer))
        case "whole" | "amount":
            numbers = "a whole number" if column.type == "whole" else "a number"
            if column.type == "amount":
                endless = value.is_nan() | value.is_infinite()
                found.append(rule("not_finite", endless, "a finite number", "leave it empty where it is unknown"))
            found.append(rule("not_a_number", there & value.is_null(), numbers, "write digits, with . for decimals"))
            bounds = f"{column.low:,.0f} to {column.high:,.0f}"
            outside = ~value.is_between(column.low, column.high)
            found.append(rule("out_of_bounds", outside, bounds, "correct it, or leave it empty"))
    return found


def _of_kinds(schema: pl.Schema) -> list[Rule]:
    if "kind" not in schema:
        return []
    kind = pl.col("kind").cast(pl.String)
    about_items = kind.is_in(["view", "click", "cart_add", "cart_remove", "purchase"])
    found = []
    for column, concerned, what in (
        ("item_id", about_items, "an item"),
        ("query", kind == "search", "the words"),
    ):
        empty = (
            (pl.col(column).cast(pl.String).str.strip_chars().fill_null("") == "") if column in schema else pl.lit(True)
        )
        bad = (concerned & empty).fill_null(False)
        found.append(Rule(f"missing_{column}", column, bad, f"{what} with this kind of event", "fill it in"))
    return found


def _is_flat_object(text: str) -> bool:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and all(
        part is None or isinstance(part, str) or (isinstance(part, int | float) and math.isfinite(part))
        for part in value.values()
    )


def _number(raw: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if dtype == pl.String or dtype.is_numeric() or dtype == pl.Boolean:
        return raw.cast(pl.Float64, strict=False)
    return pl.lit(None, pl.Float64)

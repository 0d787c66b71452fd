"""The wire contract in other forms, made from `records` and `topics`: JSON Schemas, and the tables of
docs/wire.md.

python -m streaming.schemas --write     after a change of a record or a topic
python -m streaming.schemas --check     ends with 1 where a file is not what it would write
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
from msgspec.inspect import (
    BoolType,
    DictType,
    FloatType,
    IntType,
    ListType,
    LiteralType,
    Metadata,
    NoneType,
    StrType,
    StructType,
    Type,
    UnionType,
    type_info,
)

from streaming import labels, records, topics
from streaming.errors import InputError
from streaming.records import VERSION, Record
from streaming.settings import TopicSettings

RECORDS: tuple[type[Record], ...] = (
    records.EventRecord,
    records.Tick,
    records.Item,
    records.Facts,
    records.Control,
    records.Learned,
    records.Prediction,
    records.Suppressed,
    records.SessionClosed,
    labels.Label,
    records.Receipt,
)
"""Every record that stands on a topic of the catalogue."""

_MODULES = (records, labels)
"""Where the records and their parts are written down."""
_SECTION = re.compile(r"(<!-- made by streaming\.schemas: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_SCALARS = {BoolType: "bool", NoneType: "nil"}


def schema(kind: type[Record]) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of one record. Floats that it allows may be whole, as JSON has one kind of
    number."""
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"beforehand/{kind.__name__}/{VERSION}",
    }
    whole = head | msgspec.json.schema(kind)
    for part in whole["$defs"].values():
        if "description" in part:
            # Releases of msgspec before 0.23 leave a docstring's lines indented as they stand in the source.
            part["description"] = inspect.cleandoc(part["description"])
    return whole


def made(root: Path) -> dict[Path, str]:
    """What `--write` writes, by file.

    Raises:
        InputError: `root` is not the project's folder.
    """
    page = root / "docs" / "wire.md"
    if not page.is_file():
        raise InputError(f"{page} is not there, expected the project's folder; run this there, or name it by --root")
    sections = {"topics": topic_table(), "records": record_tables()}
    text = _SECTION.sub(lambda found: found[1] + sections[found[2]] + found[3], page.read_text())
    files = {
        root / "schemas" / f"{kind.__name__}.json": json.dumps(schema(kind), indent=2, ensure_ascii=False) + "\n"
        for kind in RECORDS
    }
    return files | {page: text}


def differing(root: Path) -> list[Path]:
    """Files that are not as `made`, and schemas of records that are no more."""
    wanted = made(root)
    stray = [path for path in (root / "schemas").glob("*.json") if path not in wanted]
    return sorted(stray + [path for path, text in wanted.items() if not path.is_file() or path.read_text() != text])


def write(root: Path) -> list[Path]:
    """Make every file as `made`; the files that were not."""
    wanted, changed = made(root), differing(root)
    (root / "schemas").mkdir(exist_ok=True)
    for path in changed:
        if path in wanted:
            path.write_text(wanted[path])
        else:
            path.unlink()
    return changed


# ----------------------------------------------------------------------------------------------------- tables
def topic_table() -> str:
    """The topic catalogue as a Markdown table, with its defaults."""
    settings = TopicSettings()
    rows = []
    for topic in topics.TOPICS:
        kept = "the last of each key" if topic.compacted else _span(topic.retention_ms)
        partitions = settings.partitions if topic.sharded else 1
        record = f"[`{topic.record}`](#{topic.record.lower()})" if topic.record != "bytes" else "any bytes"
        rows.append((f"`{topic.name}`", topic.direction, topic.key, record, str(partitions), kept))
    return _table(("topic", "in / out", "key", "record", "partitions", "kept"), rows)


def record_tables() -> str:
    """One Markdown section a record, then one for each part of a record, in the order of the code."""
    meanings = _meanings()
    parts = [kind for module in _MODULES for kind in vars(module).values() if _is_struct(kind, module)]
    return "".join(_section(kind, meanings) for kind in sorted(parts, key=lambda kind: kind not in RECORDS))


def _is_struct(value: object, module: ModuleType) -> bool:
    own = isinstance(value, type) and value.__module__ == module.__name__ and value is not Record
    return own and issubclass(value, msgspec.Struct)  # type: ignore[arg-type]


def _section(kind: type[msgspec.Struct], meanings: dict[tuple[str, str], str]) -> str:
    info = type_info(kind)
    assert isinstance(info, StructType)
    rows = []
    if issubclass(kind, Record):
        rows.append(("`v`", "int", f"{VERSION}", "required", "Schema version."))
    for field in info.fields:
        name, bounds = _type(field.type)
        meaning = meanings[kind.__name__, field.name]
        rows.append((f"`{field.encode_name}`", name, bounds, _default(field), meaning))
    shape = " An array of these, in this order." if info.array_like else ""
    text = " ".join((kind.__doc__ or "").split())
    return f"### {kind.__name__}\n\n{text}{shape}\n\n{_table(_COLUMNS, rows)}\n"


_COLUMNS = ("field", "type", "bounds", "default", "meaning")


def _table(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [titles, tuple("---" for _ in titles), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _type(kind: Type) -> tuple[str, str]:
    """A type in MessagePack's words, and its bounds in plain ones."""
    match kind:
        case Metadata():
            name, bounds = _type(kind.type)
            return name, (kind.extra_json_schema or {}).get("description") or bounds
        case UnionType():
            parts = [_type(part) for part in kind.types]
            names = [part[0] for part in parts]
            return f"{', '.join(names[:-1])} or {names[-1]}", "; ".join(part[1] for part in parts if part[1])
        case LiteralType():
            return "str", "one of " + ", ".join(f"`{value}`" for value in kind.values)
        case StrType():
            return "str", _range(kind.min_length, kind.max_length, " characters")
        case IntType():
            return "int", _range(kind.ge, kind.le, "")
        case FloatType():
            return "float", _range(kind.ge, kind.le, "")
        case ListType():
            name, _ = _type(kind.item_type)
            return f"array of {name}", _range(kind.min_length or None, kind.max_length, " entries")
        case DictType():
            (key, _), (value, bounds) = _type(kind.key_type), _type(kind.value_type)
            return f"map of {key} to " + (f"({value})" if " or " in value else value), bounds
        case StructType():
            return f"[{kind.cls.__name__}](#{kind.cls.__name__.lower()})", ""
    return _SCALARS[type(kind)], ""


def _range(low: float | None, high: float | None, unit: str) -> str:
    if low is None and high is None:
        return ""
    if high is None:
        return f"from {low:,}{unit}"
    if low == high:
        return f"{low:,}{unit}"
    return f"at most {high:,}{unit}" if low is None else f"{low:,} to {high:,}{unit}"


def _default(field: msgspec.inspect.Field) -> str:
    if field.required:
        return "required"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    return "absent" if value is None else f"`{json.dumps(value)}`"


def _span(ms: int) -> str:
    return "for ever" if ms < 0 else f"{ms // topics.DAY_MS} d"


def _meanings() -> dict[tuple[str, str], str]:
    """The docstring under each field of a record or its parts, by type and field."""
    found = {}
    for node in [node for module in _MODULES for node in ast.parse(inspect.getsource(module)).body]:
        if not isinstance(node, ast.ClassDef):
            continue
        for field, text in zip(node.body, node.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
                found[node.name, field.target.id] = " ".join(str(ast.literal_eval(text.value)).split())
    return found


def main(arguments: list[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m streaming.schemas", description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the project's folder")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--write", action="store_true", help="write schemas/*.json and the tables of docs/wire.md")
    which.add_argument("--check", action="store_true", help="end with 1 where one of them is out of date")
    asked = parser.parse_args(arguments)
    try:
        changed = write(asked.root) if asked.write else differing(asked.root)
    except InputError as exc:
        print(exc, file=sys.stderr)
        return 2
    for path in changed:
        print(f"{'wrote' if asked.write else 'out of date'}: {path}")
    if changed and asked.check:
        print("run `python -m streaming.schemas --write`", file=sys.stderr)
    return 1 if changed and asked.check else 0


if __name__ == "__main__":
    sys.exit(main())

"""Topics in a file: raw records as they stood on Kafka, to be put back by `beforehand replay`.

The file is a row of MessagePack maps, gzipped where its name ends in `.gz`. The first one says what it is; each other
one is a record: topic (without prefix), partition, offset, timestamp (ms), key, value, headers.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from streaming import codec
from streaming.codec import DecodeError
from streaming.errors import InputError
from streaming.tail import KafkaRecord

FORMAT = "beforehand capture"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Captured:
    """One record as it stood on Kafka."""

    topic: str
    """Without the prefix."""
    partition: int
    offset: int
    timestamp: int
    """ms since the epoch."""
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


def captured(record: KafkaRecord, prefix: str) -> Captured:
    """What a reader of Kafka gave, without the prefix of its topic."""
    return Captured(
        topic=record.topic.removeprefix(prefix),
        partition=record.partition,
        offset=record.offset,
        timestamp=record.timestamp,
        key=record.key,
        value=record.value,
        headers=[(name, bytes(value)) for name, value in record.headers if value is not None],
    )


class CaptureWriter:
    """A capture file that is being written, as a context manager. An existing file is not overwritten."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            InputError: the file is there already, or cannot be made.
        """
        self.records = 0
        self.bytes = 0
        """Of keys and values, before compression."""
        try:
            raw = path.open("xb")
        except FileExistsError as exc:
            raise InputError(f"{path} is there already; name another file, or remove it") from exc
        except OSError as exc:
            raise InputError(f"{path} cannot be written ({exc.strerror}); name another file") from exc
        self._raw = raw
        self._file: BinaryIO = cast(BinaryIO, gzip.GzipFile(fileobj=raw, mode="wb")) if path.suffix == ".gz" else raw
        self._file.write(codec.frame({"format": FORMAT, "version": VERSION}))

    def write(self, record: Captured) -> None:
        """Add one record."""
        self._file.write(
            codec.frame(
                {
                    "topic": record.topic,
                    "partition": record.partition,
                    "offset": record.offset,
                    "timestamp": record.timestamp,
                    "key": record.key,
                    "value": record.value,
                    "headers": record.headers,
                }
            )
        )
        self.records += 1
        self.bytes += len(record.key or b"") + len(record.value or b"")

    def flush(self) -> None:
        """Bring what was written into the file, so that it outlives this process; costs room in a `.gz`."""
        self._file.flush()
        self._raw.flush()

    def __enter__(self) -> CaptureWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._raw.close()


def read_capture(path: Path) -> Iterator[Captured]:
    """The records of a capture file, in the order in which they were captured: within a partition that of Kafka.

    Raises:
        InputError: it is no capture file, or one of a later release, or it was cut off; what came before was given out.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            rows = codec.frames(cast(BinaryIO, file))
            _check_head(path, rows)
            for row in rows:
                yield _record(row)
    except (OSError, EOFError) as exc:
        raise InputError(f"{path} cannot be read ({exc}); name a file that `beforehand capture` wrote") from exc
    except (DecodeError, KeyError, TypeError, ValueError) as exc:
        raise InputError(f"{path}: {exc}") from exc


def _check_head(path: Path, rows: Iterator[dict[str, object]]) -> None:
    head = next(rows, {})
    if head.get("format") != FORMAT:
        raise InputError(f"{path} is no capture file; name one that `beforehand capture` wrote, or a shop folder")
    if head.get("version") != VERSION:
        raise InputError(
            f"{path} has capture version {head.get('version')!r}, expected {VERSION}; read it with a later release"
        )


def _record(row: dict[str, object]) -> Captured:
    headers = cast(Iterable[tuple[str, bytes]], row["headers"])
    return Captured(
        topic=str(row["topic"]),
        partition=cast(int, row["partition"]),
        offset=cast(int, row["offset"]),
        timestamp=cast(int, row["timestamp"]),
        key=cast("bytes | None", row["key"]),
        value=cast("bytes | None", row["value"]),
        headers=[(name, value) for name, value in headers],
    )

from __future__ import annotations

from collections.abc import Iterator

from streaming import codec
from streaming.sessions import SessionState
from streaming.store import StateStore
from streaming.topics import is_session


class Disk:
    """A dictionary for each partition; counts what is read."""

    def __init__(self) -> None:
        self.kept: dict[tuple[int, bytes], bytes] = {}
        self.reads = 0

    def get(self, partition: int, key: bytes) -> bytes | None:
        self.reads += 1
        return self.kept.get((partition, key))

    def put(self, partition: int, key: bytes, value: bytes | None) -> None:
        if value is None:
            self.kept.pop((partition, key), None)
        else:
            self.kept[(partition, key)] = value

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        yield from ((k, v) for (n, k), v in sorted(self.kept.items()) if n == partition and is_session(k))


def state(count: int) -> tuple[SessionState, bytes]:
    made = SessionState(counts=(count, 0))
    return made, codec.encode(made)


def test_what_was_put_is_read_from_memory_until_it_is_cleared() -> None:
    disk = Disk()
    store = StateStore(disk, capacity=10)
    store.put(0, "s", *state(3))
    assert store.get(0, "s") == state(3)[0]
    assert disk.reads == 0
    store.clear()
    assert store.get(0, "s") == state(3)[0]
    assert disk.reads == 1


def test_partitions_are_apart() -> None:
    store = StateStore(Disk(), capacity=10)
    store.put(0, "s", *state(1))
    store.put(1, "s", *state(2))
    assert [store.get(number, "s") for number in range(3)] == [state(1)[0], state(2)[0], None]
    assert list(store.scan(1)) == [("s", state(2)[0])]
    assert list(store.encoded(1)) == [("s", state(2)[1])]


def test_a_deleted_state_is_gone_from_memory_and_disk() -> None:
    disk = Disk()
    store = StateStore(disk, capacity=10)
    store.put(0, "s", *state(1))
    store.put(0, "s", None, None)
    assert store.get(0, "s") is None
    assert disk.kept == {}


def test_memory_is_bounded_and_drops_the_least_recently_used() -> None:
    disk = Disk()
    store = StateStore(disk, capacity=2)
    for session in "abc":
        store.put(0, session, *state(1))
    store.get(0, "b")
    store.put(0, "d", *state(1))
    assert len(store) == 2
    reads = disk.reads
    assert store.get(0, "b") is not None
    assert disk.reads == reads
    assert store.get(0, "a") is not None
    assert disk.reads == reads + 1

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from streaming import bloom


@given(st.lists(st.text(min_size=1), max_size=200), st.integers(1, 128))
def test_what_was_put_in_is_always_found(items: list[str], size: int) -> None:
    members = bloom.added(b"", items, size)
    assert all(bloom.contains(members, item) for item in items)


@given(st.lists(st.text(min_size=1), max_size=30), st.randoms())
def test_the_order_of_members_does_not_matter(items: list[str], random: object) -> None:
    shuffled = sorted(items, key=lambda _: random.random())  # type: ignore[attr-defined]
    one_by_one = b""
    for item in shuffled:
        one_by_one = bloom.added(one_by_one, [item], 64)
    assert one_by_one == bloom.added(b"", items, 64)


def test_strangers_are_found_as_rarely_as_the_formula_says() -> None:
    members = bloom.added(b"", [f"in {n}" for n in range(50)], 128)
    false = sum(bloom.contains(members, f"out {n}") for n in range(20_000))
    assert 0 < false < 60  # (1 - exp(-4 * 50 / 1024)) ** 4 * 20,000 = 20


def test_the_empty_set_is_the_empty_string() -> None:
    assert bloom.added(b"", [], 64) == b""
    assert not bloom.contains(b"", "tea")


def test_a_filter_keeps_its_size() -> None:
    assert len(bloom.added(bloom.added(b"", ["tea"], 16), ["mug"], 64)) == 16


@given(st.lists(st.lists(st.text(min_size=1), max_size=20), min_size=1, max_size=3), st.integers(1, 128))
def test_sets_as_arrays_say_the_same_of_members_and_of_strangers(groups: list[list[str]], size: int) -> None:
    sets = [bloom.added(b"", items, size) for items in groups]
    arrays, bounds = np.frombuffer(b"".join(sets), np.uint8), np.cumsum([0, *map(len, sets)])
    for item in [*(item for items in groups for item in items), *map(str, range(50))]:
        digest = np.uint64(xxh3_64_intdigest(item.encode()))
        assert bloom.holds(np.frombuffer(sets[0], np.uint8), digest) == bloom.contains(sets[0], item)
        assert bloom.any_holds(arrays, bounds, digest) == any(bloom.contains(each, item) for each in sets)

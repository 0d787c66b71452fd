from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.session import PooledSessionEncoder
from streaming import sights as module
from streaming.intake import Event
from streaming.items import Shop
from streaming.records import Item
from streaming.sessions import FRESH, Step, advance
from streaming.sights import SLOW, Sight, Sights, search
from tests.stories.small_shop import CATALOGUE, MINUTE, SECOND, Visitor, engine_for, fitted, stocked

ENGINE = engine_for()
WORDS = ("steel hand saw", "felt hat", None)


def encoder_of(shop: Shop) -> PooledSessionEncoder:
    return PooledSessionEncoder(shop.dimension)


def history_of(*seen: str) -> tuple[Step, ...]:
    """Views of items a minute apart; what begins with `?` is searched for."""
    visitor, state = Visitor(ENGINE), FRESH
    for n, subject in enumerate(seen):
        if subject.startswith("?"):
            event = visitor.event(n * MINUTE, "search", query=subject[1:])
        else:
            event = visitor.event(n * MINUTE, "view", subject)
        state = advance(state, event)
    return state.history


def seen_by(shop: Shop, *seen: str) -> Sight:
    return Sights(shop, encoder_of(shop)).of("s", history_of(*seen))


def same(one: Sight, other: Sight) -> bool:
    return one.vector.tobytes() == other.vector.tobytes() and one[1:] == other[1:]


# ------------------------------------------------------------------------------------------------------ what is folded
EVENTS = st.lists(
    st.tuples(
        st.sampled_from([*CATALOGUE, "unknown-1", "unknown-2", "?stoneware", "?winter hat"]),
        st.sampled_from(["view", "click", "cart_add", "purchase"]),
        st.sampled_from([0, SECOND, 40 * MINUTE]),
        st.sampled_from([0, 0, 90 * SECOND]),
        st.sampled_from(WORDS),
    ),
    min_size=1,
    max_size=30,
)
"""What is met and how, after how long, how late, and what an unknown item is called."""


def events_of(drawn: list[tuple[str, str, int, int, str | None]], visitor: Visitor) -> list[Event]:
    now, events = 10 * MINUTE, []
    for subject, kind, wait, late, title in drawn:
        now += wait
        if subject.startswith("?"):
            events.append(visitor.event(now - late, "search", query=subject[1:]))
        else:
            events.append(visitor.event(now - late, kind, subject, title=title if "unknown" in subject else None))
    return events


@settings(max_examples=25, deadline=None)
@given(EVENTS)
def test_a_sight_is_always_that_of_the_history_folded_from_the_start(
    drawn: list[tuple[str, str, int, int, str | None]],
) -> None:
    shop = fitted()
    onwards, state = Sights(shop, encoder_of(shop)), FRESH
    for event in events_of(drawn, Visitor(ENGINE)):
        shop.met(event)
        state = advance(state, event)
        anew = Sights(shop, encoder_of(shop)).of("s", state.history)
        assert same(onwards.of("s", state.history), anew)


def test_one_more_event_is_one_more_step() -> None:
    shop, steps = stocked(), []

    class Counted(PooledSessionEncoder):
        def steps(
            self,
            state: np.ndarray,
            item_vectors: np.ndarray,
            kinds: Sequence[str],
            gaps_ms: Sequence[int],
            _texts: Sequence[str] = (),
            /,
        ) -> np.ndarray:
            steps.extend(kinds)
            return super().steps(state, item_vectors, kinds, gaps_ms)

    sights, history = Sights(shop, Counted(shop.dimension)), history_of("mug-1", "hat-1", "saw-1")
    for length, expected in ((2, 2), (3, 1), (3, 0), (1, 1)):
        steps.clear()
        sights.of("s", history[:length])
        assert len(steps) == expected
    steps.clear()
    sights.of("another", history)
    assert len(steps) == 3


def test_the_vectors_of_many_sessions_are_made_in_one_call_and_once() -> None:
    shop, asked = stocked(), []

    class Counted(PooledSessionEncoder):
        def vectors(self, states: np.ndarray) -> np.ndarray:
            asked.append(len(states))
            return super().vectors(states)

        def about(self, states: np.ndarray) -> np.ndarray:
            return super().vectors(states)

    sights, alone = Sights(shop, Counted(shop.dimension)), Sights(shop, encoder_of(shop))
    histories = {"a": history_of("mug-1"), "b": history_of("hat-1", "saw-1"), "c": history_of("saw-1", "mug-1")}
    folded = [sights.folded(session, history) for session, history in histories.items()]
    made = sights.made([*folded, folded[0], sights.folded("d", ())])
    assert asked == [3]
    for sight, (session, history) in zip(made, histories.items(), strict=False):
        assert same(sight, alone.of(session, history))
    assert same(made[3], made[0])
    assert made[4].blank
    sights.made([sights.folded(session, history) for session, history in histories.items()])
    assert asked == [3]


def test_titles_and_queries_reach_an_encoder_that_reads() -> None:
    shop, read = stocked(), []

    class Reading(PooledSessionEncoder):
        def steps(
            self,
            state: np.ndarray,
            item_vectors: np.ndarray,
            kinds: Sequence[str],
            gaps_ms: Sequence[int],
            texts: Sequence[str] = (),
            /,
        ) -> np.ndarray:
            read.extend(texts)
            return super().steps(state, item_vectors, kinds, gaps_ms)

    visitor = Visitor(ENGINE)
    shop.met(visitor.event(1, "view", "new", title="red felt hat"))
    Sights(shop, Reading(shop.dimension)).of("s", history_of("mug-1", "new", "?steel saw"))
    assert read == [shop.title_of("mug-1"), "red felt hat", "steel saw"]


def test_a_new_title_of_one_item_lets_the_vectors_of_others_be() -> None:
    shop = stocked()
    sights, history, visitor = Sights(shop, encoder_of(shop)), history_of("mug-1"), Visitor(ENGINE)
    sights.of("s", history)
    kept = sights._folded["s"]
    shop.met(visitor.event(1, "view", "new", title="red felt hat"))
    sights.of("s", history)
    assert sights._folded["s"].state is kept.state
    called = history_of("new")
    before = sights.of("t", called).vector
    shop.met(visitor.event(2, "view", "new", title="steel hand saw"))
    assert sights.of("t", called).vector.tobytes() != before.tobytes()


def test_a_new_vector_of_an_item_reaches_who_saw_it() -> None:
    shop = stocked()
    sights, history = Sights(shop, encoder_of(shop)), history_of("mug-1")
    sights.of("s", history)
    shop.upsert([Item(item_id="mug-1", title="felt winter hat")])
    hat = shop.row_of("hat-1")
    assert hat is not None
    assert sights.of("s", history).vector == pytest.approx(hat[: shop.dimension], abs=1e-6)


def test_who_was_forgotten_is_folded_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    shop, history = stocked(), history_of("mug-1", "hat-1")
    monkeypatch.setattr(module, "VECTORS_KEPT", 1)
    sights = Sights(shop, encoder_of(shop))
    first = sights.of("one", history)
    sights.of("two", history)
    assert list(sights._folded) == ["two"]
    assert same(sights.of("one", history), first)


# -------------------------------------------------------------------------------------------------- what it looks like
def test_each_space_has_a_block_of_length_one() -> None:
    shop = fitted()
    vector = seen_by(shop, "mug-1", "hat-1", "saw-3").vector
    blocks = [vector[columns] for columns in shop.layout.slices[:3]]
    assert [float(np.linalg.norm(block)) for block in blocks] == [pytest.approx(1, abs=1e-6)] * 3
    assert vector.dtype == np.float32


def test_a_query_and_the_title_of_an_unknown_item_speak_in_the_space_of_texts_alone() -> None:
    shop = fitted()
    shop.met(Visitor(ENGINE).event(0, "view", "new", title="felt hat"))
    for sight, words in ((seen_by(shop, "?felt hat"), "felt hat"), (seen_by(shop, "new"), "felt hat")):
        assert sight.words == (words,)
        text, graph, behaviour = (sight.vector[columns] for columns in shop.layout.slices[:3])
        assert text == pytest.approx(shop.texts.encode(["felt hat"])[0], abs=1e-6)
        assert not graph.any()
        assert not behaviour.any()


def test_of_what_is_not_known_there_is_nothing_to_see() -> None:
    shop = stocked()
    nothing = seen_by(shop, "never heard of")
    assert nothing.blank
    assert nothing.words == (None,)
    assert nothing.shift is None
    assert not seen_by(shop, "never heard of", "mug-1").blank


def test_an_encoder_of_another_dimension_is_refused() -> None:
    with pytest.raises(module.InputError, match="8 dimensions, expected 256"):
        Sights(stocked(), PooledSessionEncoder(8))


# --------------------------------------------------------------------------------------------------------------- shift
def test_a_shift_is_the_cosine_with_the_slow_mean_of_the_vectors_before() -> None:
    shop = stocked()
    encoder, seen = encoder_of(shop), ["mug-1", "mug-2", "saw-1", "saw-2"]
    state, vectors = encoder.start(), []
    for n, item_id in enumerate(seen):
        row = shop.row_of(item_id)
        assert row is not None
        state = encoder.step(state, row[: shop.dimension], "view", MINUTE if n else 0)
        vectors.append(encoder.vector(state).astype(float))
    slow = vectors[0]
    assert seen_by(shop, seen[0]).shift is None
    for n in range(1, len(seen)):
        expected = float(vectors[n] @ slow / np.linalg.norm(slow))
        assert seen_by(shop, *seen[: n + 1]).shift == pytest.approx(expected, abs=1e-5)
        slow = SLOW * slow + (1 - SLOW) * vectors[n]


def test_who_turns_to_something_else_has_shifted_and_who_stays_has_not() -> None:
    shop = stocked()
    turned = seen_by(shop, "mug-1", "mug-2", "mug-1", "saw-1", "saw-2").shift
    stayed = seen_by(shop, "mug-1", "mug-2", "mug-1", "mug-3", "mug-2").shift
    assert turned is not None
    assert stayed is not None
    assert turned < 0.5 < stayed


# -------------------------------------------------------------------------------------------------------------- search
def test_a_search_finds_the_same_in_company_and_nothing_for_who_is_not_known() -> None:
    shop, weights = fitted(), np.array([0.8, 0.1, 0.3, 0, 0.05], np.float32)
    asked = [None, seen_by(shop, "mug-1"), seen_by(shop, "nobody"), seen_by(shop, "saw-1", "hat-1")]
    found = search(shop, asked, weights, 4, cold=0)
    assert [len(codes) for codes in found] == [0, 4, 0, 4]
    for sight, codes in zip(asked, found, strict=True):
        (alone,) = search(shop, [sight], weights, 4, cold=0)
        assert alone.tolist() == codes.tolist()
        if sight is None or sight.blank:
            continue
        everything = shop.vocabulary.codes(list(CATALOGUE))
        each = shop.index.products(everything, np.append(sight.vector, np.float32(1)), shop.layout.ends) @ weights
        assert set(codes.tolist()) == set(everything[np.argsort(-each)[:4]].tolist())


def test_the_weights_of_a_search_say_which_space_counts() -> None:
    shop = fitted()
    sight = seen_by(shop, "pot-1")
    by_text, by_graph = (search(shop, [sight], weights, 2, cold=0)[0] for weights in np.eye(5, dtype=np.float32)[:2])
    assert set(shop.vocabulary.ids(by_text)) == {"pot-1", "mug-2"}
    assert set(shop.vocabulary.ids(by_graph)) == {"pot-1", "mug-1"}

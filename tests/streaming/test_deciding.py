"""A batch in steps, between which the model's thread is free."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from streaming.deciding import CROWDED, STEP_EVENTS, Made, decide, decide_in_steps
from streaming.engine import Engine
from tests.stories.small_shop import engine_for, fitted
from tests.streaming.test_engine import stream

NOW = 1_700_000_500_000


def in_steps(engine: Engine, count: int) -> Made:
    with ThreadPoolExecutor(1) as model:
        return asyncio.run(decide_in_steps(model, engine, stream(3, count), {}, NOW))


@pytest.mark.parametrize("count", [0, 1, STEP_EVENTS, 3 * STEP_EVENTS + 1])
def test_in_steps_a_batch_comes_to_the_same(count: int) -> None:
    assert in_steps(engine_for(fitted()), count) == decide(engine_for(fitted()), stream(3, count), {}, NOW)


def test_what_the_engine_fails_on_takes_nothing_else_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, work = engine_for(fitted()), stream(3, 2 * STEP_EVENTS)
    bad = work[STEP_EVENTS + 2]
    step = engine.step

    def fails(events, states, now=None):  # type: ignore[no-untyped-def]
        if bad in events:
            raise RuntimeError("no")
        return step(events, states, now)

    monkeypatch.setattr(engine, "step", fails)
    made = in_steps(engine, len(work))
    assert [event for event, _ in made.failed] == [bad]
    assert [decision.event for decision in made.decisions] == [event for event in work if event != bad]


def test_who_asks_for_the_thread_waits_for_one_step_only() -> None:
    engine, done = engine_for(fitted()), []
    step = engine.step

    async def run() -> None:
        with ThreadPoolExecutor(1) as model:
            loop = asyncio.get_running_loop()

            def noted(events, states, now=None):  # type: ignore[no-untyped-def]
                if not done:  # a new item comes while the first step runs
                    loop.call_soon_threadsafe(loop.run_in_executor, model, done.append, "item")
                    while model._work_queue.empty():
                        pass
                done.append(len(events))
                return step(events, states, now)

            engine.step = noted  # type: ignore[method-assign]
            await decide_in_steps(model, engine, stream(3, 3 * STEP_EVENTS), {}, NOW)

    asyncio.run(run())
    assert done == [STEP_EVENTS, "item", STEP_EVENTS, STEP_EVENTS]


def test_steps_are_longer_where_popularity_alone_has_its_say(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, done = engine_for(fitted()), []
    engine.level = "popular"
    step = engine.step

    def noted(events, states, now=None):  # type: ignore[no-untyped-def]
        done.append(len(events))
        return step(events, states, now)

    monkeypatch.setattr(engine, "step", noted)
    made = in_steps(engine, CROWDED * STEP_EVENTS + 3)
    assert done == [CROWDED * STEP_EVENTS, 3]
    other = engine_for(fitted())
    other.level = "popular"
    assert made == decide(other, stream(3, CROWDED * STEP_EVENTS + 3), {}, NOW)

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from encoders.text import DummyTextEncoder
from streaming.app import WorkerApp, create_app
from streaming.control import Orders
from streaming.errors import InputError
from streaming.event_queue import Forget
from streaming.item_rows import items_of
from streaming.items import Shop
from streaming.privacy import Pseudonyms
from streaming.ranking import RankingSettings
from streaming.records import Control, Receipt
from streaming.reranking import PARTS
from streaming.settings import EncoderSettings, RuleSettings, Settings, TriggerSettings, WorkerSettings
from tests.index.small_tables import ITEMS
from tests.stories.small_shop import Visitor, offers
from tests.stories.test_gate import gate
from tests.streaming.small_past import COLD, facts_of, model_at, ranking_of

SENT = 1_700_000_000_000


class Bench:
    """Orders with everything around them replaced by lists."""

    def __init__(self) -> None:
        self.rules: list[tuple[str, float]] = []
        self.models: list[Path] = []
        self.switched: list[float] = []
        self.forgets: list[Forget] = []
        self.receipts: list[Receipt] = []
        self.dropped: list[Shop] = []
        self.shop = Shop(DummyTextEncoder())
        self.engine = self.queue = self
        self.orders = Orders(
            "w0",
            self,  # type: ignore[arg-type]
            Pseudonyms("a secret of the tests, long enough"),
            in_model_thread=self.in_model_thread,
            open_model=self.open_model,
            serve_model=self.serve_model,
            drop_model=self.drop_model,
            send=self.send,
        )

    def set_rule(self, name: str, value: float) -> None:
        if name != "quiet_ms":
            raise InputError(f"rule {name!r} does not exist")
        self.rules.append((name, value))

    def suited(self, _opened: Shop) -> None:
        """Any model is."""

    def open_model(self, folder: Path) -> Shop:
        if folder.name == "broken":
            raise InputError(f"model {folder}: not whole")
        return Shop(DummyTextEncoder(), model=str(folder))

    def serve_model(self, opened: Shop) -> None:
        self.models.append(Path(opened.model))
        self.switched.append(time.time())

    def drop_model(self, opened: Shop) -> None:
        self.dropped.append(opened)

    async def put(self, forget: Forget) -> None:
        self.forgets.append(forget)
        forget.done.set_result(2)

    async def in_model_thread(self, work: Any, *args: Any) -> Any:
        return work(*args)

    async def send(self, receipt: Receipt) -> None:
        self.receipts.append(receipt)

    def carry_out(self, **order: Any) -> Receipt:
        async def story() -> None:
            await self.orders.reassigned()
            await self.orders.carry_out(Control(control_id="c1", **order), SENT)

        asyncio.run(story())
        return self.receipts[-1]


def test_sets_a_rule_and_says_so() -> None:
    bench = Bench()
    receipt = bench.carry_out(action="set_rule", rule="quiet_ms", value=500)
    assert (receipt.control_id, receipt.done, receipt.worker, receipt.why) == ("c1", True, "w0", "quiet_ms = 500")
    assert bench.rules == [("quiet_ms", 500)]


def test_switches_the_model() -> None:
    bench = Bench()
    assert bench.carry_out(action="switch_model", model="models/b").done
    assert bench.models == [Path("models/b")]


def test_a_switch_waits_for_its_time_and_holds_nothing_else_up() -> None:
    bench, at = Bench(), time.time() + 0.4

    async def story() -> None:
        later = Control(control_id="c1", action="switch_model", model="models/b", effective_at=int(at * 1000))
        broken = Control(control_id="c2", action="switch_model", model="broken", effective_at=int(at * 1000))
        past = Control(control_id="c3", action="switch_model", model="models/a", effective_at=1_500_000_000_000)
        for order in (later, broken, past):
            await bench.orders.carry_out(order, SENT)
        assert bench.models == [Path("models/a")]
        while len(bench.receipts) < 3:
            await asyncio.sleep(0.01)

    asyncio.run(story())
    assert bench.models == [Path("models/a"), Path("models/b")]
    assert at - 0.002 <= bench.switched[-1] < at + 5
    assert {receipt.control_id: receipt.done for receipt in bench.receipts} == {"c1": True, "c2": False, "c3": True}
    assert bench.receipts[-1].control_id == "c1"  # what is broken is refused before


@pytest.mark.parametrize(
    ("order", "why"),
    [
        ({"action": "set_rule", "rule": "no_such", "value": 1}, "rule 'no_such' does not exist"),
        ({"action": "set_rule", "rule": "quiet_ms"}, "set_rule needs `rule` and `value`"),
        ({"action": "switch_model"}, "switch_model needs `model`"),
        ({"action": "switch_model", "model": "broken"}, "model broken: not whole"),
        ({"action": "forget"}, "forget needs `session_id` or `user_id`, one of them"),
        ({"action": "forget", "session_id": "a", "user_id": "b"}, "forget needs `session_id` or `user_id`"),
    ],
)
def test_refuses_with_a_reason(order: dict[str, Any], why: str) -> None:
    receipt = Bench().carry_out(**order)
    assert not receipt.done
    assert why in receipt.why


def test_forgets_by_pseudonym_as_of_when_the_order_was_sent() -> None:
    bench = Bench()
    names = Pseudonyms("a secret of the tests, long enough")
    assert bench.carry_out(action="forget", user_id="anna").why == "2 sessions forgotten here"
    assert (bench.forgets[0].sessions, bench.forgets[0].users) == ({}, {names("anna"): SENT})
    bench.carry_out(action="forget", session_id="s1")
    assert bench.forgets[-1].sessions == {names("s1"): SENT}


def test_what_came_from_another_worker_is_forgotten_again() -> None:
    bench = Bench()
    bench.carry_out(action="forget", user_id="anna")
    bench.carry_out(action="forget", session_id="s1")
    bench.forgets.clear()
    asyncio.run(bench.orders.reassigned())
    (again,) = bench.forgets
    assert (len(again.sessions), len(again.users)) == (1, 1)


def test_forgetting_waits_until_there_are_partitions_to_look_at() -> None:
    async def story() -> list[bool]:
        bench = Bench()
        order = Control(control_id="c1", action="forget", session_id="s1")
        task = asyncio.ensure_future(bench.orders.carry_out(order, SENT))
        await asyncio.sleep(0.01)
        before = task.done()
        await bench.orders.reassigned()
        await task
        return [before, task.done()]

    assert asyncio.run(story()) == [False, True]


# ------------------------------------------------------------------------------------------------ another model folder
BY_COUNTS = RankingSettings(**(dict.fromkeys(PARTS, 0.0) | {"counts": 1.0}))  # type: ignore[arg-type]
BY_FACTS = RankingSettings(**(dict.fromkeys(PARTS, 0.0) | {"graph": 1.0}))  # type: ignore[arg-type]


class Served(Bench):
    """A worker that serves a model in which jam follows tea."""

    def __init__(self, tmp_path: Path) -> None:
        super().__init__()
        folder = model_at(tmp_path / "jam", *["tea jam"] * 9, told=ranking_of(BY_COUNTS), settings=COLD)
        self.app: WorkerApp = create_app(
            Settings(
                no_pseudonyms=True,
                encoder=EncoderSettings(model="dummy"),
                triggers=TriggerSettings(offers=1),
                worker=WorkerSettings(id="w0", data_dir=tmp_path / "data", port=0, model=folder),
            )
        )
        self.app.shop.upsert(list(items_of(ITEMS)))
        self.engine = self.app.engine  # type: ignore[assignment]
        self.visitor = Visitor(self.app.engine)

    def open_model(self, folder: Path) -> Shop:
        return self.app.switching.open(folder)

    def serve_model(self, opened: Shop) -> None:
        self.app.serve_model(opened)

    def drop_model(self, opened: Shop) -> None:
        self.app.switching.drop(opened)


def test_from_a_switch_on_answers_come_from_the_other_model(tmp_path: Path) -> None:
    worker = Served(tmp_path)
    first = worker.visitor.does(0, "view", "tea").prediction
    assert first is not None
    assert first.items[0].item_id == "jam"
    other = model_at(tmp_path / "mug", *["tea mug"] * 9, told=ranking_of(BY_COUNTS), settings=COLD)
    assert worker.carry_out(action="switch_model", model=str(other)).why == f"serving {other}"
    decision = worker.visitor.does(60_000, "view", "rug")  # the session goes on
    assert offers(decision)[0] == "mug"
    assert decision.prediction is not None
    assert decision.prediction.model == worker.app.shop.model != first.model
    assert decision.prediction.index.snapshot != first.index.snapshot
    assert decision.prediction.supersedes == [first.prediction_id]
    assert worker.app.engine.shop is worker.app.shop


def test_a_switch_keeps_what_the_topics_said(tmp_path: Path) -> None:
    worker = Served(tmp_path)
    worker.app.shop.remove(["pot"])  # all else that is like a mug
    worker.app.shop.upsert_facts(facts_of("rug", ("brand", "Kiln")))
    other = model_at(tmp_path / "facts", *["tea jam"] * 2, told=ranking_of(BY_FACTS))
    assert worker.carry_out(action="switch_model", model=str(other)).done
    decision = worker.visitor.does(0, "view", "mug")
    assert offers(decision) == ["rug"]
    assert decision.prediction is not None
    (reason,) = decision.prediction.items[0].reasons
    assert (reason.code, reason.facts) == ("fact", [["rug", "brand", "Kiln"], ["mug", "brand", "Kiln"]])


@pytest.mark.parametrize(
    ("settings", "text", "why"),
    [
        ({"ranking": {"no such": 1}}, None, "expected"),
        ({"ranking": {"counts": -1.0}}, None, "at least 0"),
        ({"calibration": {"calibrated": True}}, None, "build it anew"),
        ({}, "another", "build it anew"),
    ],
)
def test_a_model_that_cannot_be_served_is_refused_and_the_old_one_answers_on(
    tmp_path: Path, settings: dict[str, Any], text: str | None, why: str
) -> None:
    worker = Served(tmp_path)
    before = worker.app.shop
    broken = model_at(tmp_path / "broken", "tea mug", told=settings, **({"text": text} if text else {}))
    receipt = worker.carry_out(action="switch_model", model=str(broken))
    assert not receipt.done
    assert why in receipt.why
    assert worker.app.shop is worker.app.engine.shop is before
    assert offers(worker.visitor.does(0, "view", "tea"))[0] == "jam"


def test_a_precision_that_a_model_cannot_keep_is_refused_and_so_is_a_model_that_cannot_keep_one(tmp_path: Path) -> None:
    worker = Served(tmp_path)
    other = model_at(tmp_path / "mug", *["tea mug"] * 9, told=ranking_of(BY_COUNTS), settings=COLD)
    asked = {"action": "set_rule", "rule": "min_precision", "value": 0.3}
    refused = worker.carry_out(**asked)
    assert (refused.done, "no gate" in refused.why) == (False, True)
    worker.app.engine.settings = worker.app.engine.settings.model_copy(update={"triggers": TriggerSettings(offers=10)})
    worker.app.shop.gate = gate()
    assert worker.carry_out(**asked).why == "min_precision = 0.3"
    before = worker.app.shop
    refused = worker.carry_out(action="switch_model", model=str(other))
    assert (refused.done, "no gate" in refused.why) == (False, True)
    assert worker.app.shop is worker.app.engine.shop is before
    assert worker.carry_out(**asked | {"value": 0}).done
    assert worker.carry_out(action="switch_model", model=str(other)).done


def test_a_worker_does_not_start_where_its_model_cannot_keep_the_precision(tmp_path: Path) -> None:
    settings = Settings(
        no_pseudonyms=True,
        encoder=EncoderSettings(model="dummy"),
        rules=RuleSettings(min_precision=0.3),
        worker=WorkerSettings(id="w0", data_dir=tmp_path / "data", port=0, model=model_at(tmp_path / "m", "tea mug")),
    )
    with pytest.raises(InputError, match=r"min_precision = 0.3, but the model has no gate.*MIN_PRECISION to 0"):
        create_app(settings)


def test_a_gate_that_is_none_is_refused_with_its_model(tmp_path: Path) -> None:
    worker = Served(tmp_path)
    broken = model_at(tmp_path / "broken", "tea mug", told={"gate": {"model": {}}})
    receipt = worker.carry_out(action="switch_model", model=str(broken))
    assert not receipt.done
    assert "build it anew" in receipt.why

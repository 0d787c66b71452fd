"""Two workers change their model together, under load, by one order; a broken model is refused and nothing changes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from threading import Event, Thread

import pytest

from index.model import MANIFEST, ModelFolder
from streaming import codec, topics
from streaming.item_rows import items_of
from streaming.records import Control, EventRecord, Prediction, Receipt
from streaming.settings import Settings
from streaming.worker_process import WorkerProcess
from tests.index.small_tables import ITEMS
from tests.stage import Stage, eventually, now_ms
from tests.streaming.small_past import PAST, model_at

AHEAD_MS = 1500
"""How long before a switch takes effect it is ordered."""


class Visitors(Thread):
    """A new visitor every 10 ms looks at an item; each is to be answered once."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(daemon=True)
        self._stage, self._enough, self.sent = stage, Event(), 0

    def run(self) -> None:
        while not self._enough.wait(0.01):
            item = ITEMS["item_id"][self.sent % 4]
            self._stage.send_events([EventRecord(kind="view", session_id=f"v{self.sent}", time=now_ms(), item_id=item)])
            self.sent += 1

    def __enter__(self) -> Visitors:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self.join()


@pytest.fixture
def two_models(tmp_path: Path) -> tuple[Path, Path]:
    """Of the same shop, of which the second saw more."""
    return model_at(tmp_path / "first", *PAST), model_at(tmp_path / "second", *PAST, "rug jam", "rug jam tea")


def order(stage: Stage, name: str, model: Path, effective_at: int) -> None:
    """A switch that is to take effect then."""
    told = Control(control_id=name, action="switch_model", model=str(model), effective_at=effective_at)
    stage.send(topics.CONTROL, [(name.encode(), codec.encode(told))], headers=codec.HEADERS)


def receipts(stage: Stage, name: str) -> list[Receipt]:
    """Of an order; two workers send one each."""

    def look() -> list[Receipt]:
        return [receipt for receipt in stage.read(topics.RECEIPTS, Receipt) if receipt.control_id == name]

    return eventually(look, lambda found: len({receipt.worker for receipt in found}) == 2)


def models_in_turn(stage: Stage) -> Iterator[list[str]]:
    """Of each partition of the predictions: the models that spoke, one after the other."""
    for _, rows in groupby(stage.raw(topics.PREDICTIONS), attrgetter("partition")):
        said = [codec.decode(row.value, Prediction).model for row in rows]
        yield [str(model) for model, _ in groupby(said)]


def test_two_workers_switch_together_and_lose_nothing(
    settings: Settings,
    stage: Stage,
    worker: Callable[..., WorkerProcess],
    two_models: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    first, second = two_models
    versions = [ModelFolder.load(folder).version for folder in two_models]
    broken = Path(shutil.copytree(second, tmp_path / "broken"))
    (broken / MANIFEST).write_bytes((broken / MANIFEST).read_bytes()[:-20])
    stage.put_items(list(items_of(ITEMS)))
    workers = []
    for name in ("w0", "w1"):
        its = settings.worker.model_copy(update={"id": name, "data_dir": tmp_path / name, "model": first})
        workers.append(worker(settings.model_copy(update={"worker": its})))
    with Visitors(stage) as visitors:
        for process in workers:  # each owns a share, and answers from it
            eventually(lambda process=process: len(process.states()["states"]), lambda count: count > 20)  # type: ignore[misc]
        order(stage, "there", second, at := now_ms() + AHEAD_MS)
        there = receipts(stage, "there")
        order(stage, "nowhere", broken, now_ms() + AHEAD_MS)
        nowhere = receipts(stage, "nowhere")
        until = visitors.sent + 100
        eventually(lambda: visitors.sent, lambda sent: sent > until)
    eventually(lambda: len(stage.spoken()), lambda count: count == visitors.sent)

    assert [receipt.done for receipt in there] == [True, True]
    assert all(receipt.time >= at for receipt in there)
    assert [receipt.done for receipt in nowhere] == [False, False]
    assert all(MANIFEST in receipt.why for receipt in nowhere)
    assert list(models_in_turn(stage)) == [versions, versions]
    predictions = stage.predictions()
    assert len(predictions) == len({prediction.prediction_id for prediction in predictions})
    order(stage, "back", first, now_ms())
    assert [receipt.done for receipt in receipts(stage, "back")] == [True, True]

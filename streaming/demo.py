"""The demo: a year of real purchases, its last two months told beforehand, live, on a broker of its own.

Statistics see January to October alone. From 1 November events are put at a fixed rate, whether the worker keeps up or
not. Nothing is chosen by what came later: the catalogue holds the most popular items of the past, and an event of
another item brings its title along.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from kafka import KafkaAdminClient
from kafka.errors import KafkaError
from rich.console import Console

from encoders.behaviour import BehaviourSettings
from encoders.catalogue import item_text
from encoders.text import TextEncoder
from index.forest_fitting import ForestSettings
from streaming import codec, connections, topics
from streaming.admin import create_topics, wanted
from streaming.broker import LocalBroker
from streaming.building import Stopwatch, build_model
from streaming.decisions import prediction_id
from streaming.demo_live import Show, TimedDelivery
from streaming.demo_past import FROM, Past, past_of
from streaming.demo_report import DemoReport
from streaming.demo_worker import DemoWorker, Tally
from streaming.errors import BeforehandError
from streaming.foretold import Sessions, measure
from streaming.importing import import_shop
from streaming.intake import Event, Source
from streaming.item_rows import items_of
from streaming.pace import Pace
from streaming.past import Note, table_settings
from streaming.past import Past as ShopPast
from streaming.past import past_of as shop_past_of
from streaming.publisher import Publisher
from streaming.records import Prediction
from streaming.replay import EventLog, Progress, Replay
from streaming.said import TRIGGERS
from streaming.settings import Settings
from streaming.tail import tail
from streaming.text_encoder import text_encoder

_TEXTS_AT_ONCE = 256
NO_FACTS = pl.DataFrame(schema={"head": pl.String, "relation": pl.String, "tail": pl.String})
"""The demo's shop brings none besides what its catalogue says."""
MOMENTS = 4000
"""That weights are chosen on: fewer than `build` takes, for a demo has no patience."""
FOREST = ForestSettings(trees=30)
"""Likewise: no network, and fewer trees than `train` grows."""
DECIDED_S = 60.0
"""How long the worker may take for what waits after the last event."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the command line asks for."""

    events: int = 3000
    rate: float = 300.0
    """Events a second."""
    brokers: str | None = None
    """None: a local broker of the demo's own."""
    folder: Path = Path("beforehand-demo")
    """Where everything is written."""


class Demo:
    """One run; read `run` top to bottom."""

    def __init__(
        self, options: DemoOptions, console: Console, note: Note, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """`note` hears how long stages get on: stage, done, total."""
        self._options = options
        self._console = console
        self._note = note
        self._clock = clock
        self._began = clock()
        self._watch = Stopwatch(clock)

    def run(self) -> DemoReport:
        """All of it. Worker and broker are stopped, and their topics gone, however it ends.

        Raises:
            InputError: a package of the extra `demo` is missing.
            BeforehandError: broker or worker failed; the text has the end of the log.
        """
        with ExitStack() as open_things:
            brokers = self._options.brokers or self._local_broker(open_things)
            given = self._overrides(brokers)
            settings = Settings.from_environment(**given)
            beside = open_things.enter_context(ThreadPoolExecutor(1))
            loading = beside.submit(text_encoder, settings)
            past = self._import()
            open_things.enter_context(self._topics(settings))
            with self._stage("loading BERT"):
                texts = loading.result()
            with texts:
                known = self._known(past, texts)
                encoding = beside.submit(_encode, past, texts)
                self._build(past, known, texts)
                worker = open_things.enter_context(DemoWorker(settings.worker.data_dir, environment_of(given)))
                with self._stage("texts"):
                    count = encoding.result()
                self._say(f"{count:,} texts of products are encoded")
            self._put_catalogue(past, settings)
            self._wait_for_worker(past, worker)
            show = Show(settings, self._console, past.titles, self._clock)
            delivery = TimedDelivery(settings)
            open_things.callback(delivery.close, timeout_s=0)
            progress = self._replay(past, settings, delivery, show, open_things)
            tally = self._drained(worker, len(past.events))
            with self._stage("measuring"):
                predictions = _all_predictions(settings)
                self._wait_for(show, predictions)
                report = self._report(past, tally, predictions, show, delivery, progress.behind_s_max)
        self._watch.begin(None)
        return report

    # ------------------------------------------------------------------------------------------------------ its steps
    def _local_broker(self, open_things: ExitStack) -> str:
        with self._stage("broker"):
            broker = open_things.enter_context(LocalBroker(folder=self._options.folder))
        self._say(f"a local broker answers on {broker.address}")
        return broker.address

    def _overrides(self, brokers: str) -> dict[str, Any]:
        """Settings of the demo, on top of the environment's; those of a shop are production's."""
        folder = self._options.folder.resolve()
        local = self._options.brokers is None
        return {
            "brokers": brokers,
            "secret": secrets.token_hex(16),
            "broker": {"session_timeout_s": 6, "heartbeat_s": 1, "request_timeout_s": 20}
            | ({"fence": False} if local else {}),
            "topics": {"prefix": f"demo-{secrets.token_hex(4)}.", "partitions": 2}
            | ({"replication": 1} if local else {}),
            "encoder": {"cache_dir": str(folder / "vectors")},
            "worker": {
                "id": "demo",
                "data_dir": str(folder / "worker"),
                "model": str(folder / "model"),
                "port": 0,
                "clock": "record",
            },
        }

    def _import(self) -> Past:
        folder = self._options.folder
        with self._stage("import"):
            told = import_shop(None, folder / "shop", "completejourney")
            events, items = told.table("events"), told.table("items")
            past = past_of(told.info, events, items, self._options.events)
        self._say(f"{len(events):,} real purchases of 2017 and {len(items):,} products are imported")
        return past

    def _known(self, past: Past, texts: TextEncoder) -> ShopPast:
        with self._stage("items' texts"):
            return shop_past_of(past.history, past.catalogue, NO_FACTS, past.info, texts, note=self._note)

    def _build(self, past: Past, known: ShopPast, texts: TextEncoder) -> None:
        with self._stage("model"):
            settings = replace(table_settings(past.info), behaviour=BehaviourSettings(most=len(past.catalogue)))
            model, _ = build_model(
                known,
                self._options.folder / "model",
                texts,
                settings=settings,
                forest=FOREST,
                until=FROM,
                moments=MOMENTS,
                note=self._note,
            )
        self._say(
            f"counts, vectors and a forest are trained on {len(past.history):,} purchases of January to October"
            f" (model {model.version})"
        )

    @contextmanager
    def _topics(self, settings: Settings) -> Iterator[None]:
        """Made before, and gone afterwards where the broker is not the demo's own."""
        with self._stage("topics"):
            create_topics(settings)
        try:
            yield
        finally:
            if self._options.brokers is not None:
                _delete_topics(settings)

    def _put_catalogue(self, past: Past, settings: Settings) -> None:
        with self._stage("catalogue"), Publisher(settings) as shop:
            for item in items_of(past.catalogue):
                shop.put_item(item)
            shop.flush()
        self._say(f"{len(past.catalogue):,} items are on {settings.topics.prefix}{topics.CATALOGUE.name}")

    def _wait_for_worker(self, past: Past, worker: DemoWorker) -> None:
        with self._stage("worker"):
            worker.wait_ready(len(past.catalogue))
        self._say(f"a worker (process {worker.child.pid}) is ready; here come the purchases from 1 November on\n")

    def _replay(
        self, past: Past, settings: Settings, delivery: TimedDelivery, show: Show, open_things: ExitStack
    ) -> Progress:
        show.start()
        open_things.callback(show.stop)
        with self._stage("replay"):
            log = EventLog("demo", past.events)
            return Replay(log, delivery, settings.topics, Pace(rate=self._options.rate)).run()

    def _drained(self, worker: DemoWorker, events: int) -> Tally:
        """The worker's counters once all events are decided, or time is up."""
        with self._stage("draining"):
            until = time.monotonic() + DECIDED_S
            while True:
                tally = worker.tally()
                if tally.decided >= events or time.monotonic() > until:
                    return tally
                time.sleep(0.1)

    def _wait_for(self, show: Show, predictions: list[Prediction]) -> None:
        """Until the reader is through too: what was withdrawn before it was read never comes out of it."""
        until = time.monotonic() + 3
        while len(show.arrived) < len(predictions) and time.monotonic() < until and show.is_alive():
            time.sleep(0.05)
        show.stop()
        if show.trouble is not None:
            raise show.trouble

    def _report(
        self,
        past: Past,
        tally: Tally,
        predictions: list[Prediction],
        show: Show,
        delivery: TimedDelivery,
        behind_s: float,
    ) -> DemoReport:
        events = past.events
        asked = {
            prediction_id(_event(event_id), trigger, 0): number
            for number, event_id in enumerate(events["event_id"])
            for trigger in TRIGGERS
        }
        offers = {
            asked[one.prediction_id]: [offer.item_id for offer in one.items]
            for one in predictions
            if one.items and one.prediction_id in asked
        }
        sessions = Sessions(list(zip(events["session_id"], events["item_id"], strict=True)))
        sent = delivery.sent_at
        waits = [(moment - sent[asked[name]]) * 1000 for name, moment in show.arrived.items() if name in asked]
        percentiles = np.percentile(waits, [50, 90, 99]).round(2).tolist() if waits else None
        first = min(show.arrived.values(), default=None)
        return DemoReport(
            events_in=len(sent),
            decided=tally.decided,
            predictions_out=len(predictions),
            suppressed=tally.suppressed,
            silent=tally.silent,
            dead_letters=tally.dead_letters,
            latencies_ms=tuple(percentiles) if percentiles else None,
            first_prediction_s=None if first is None else round(first - self._began, 2),
            foretold=measure(offers, sessions, past.catalogue["item_id"].to_list()),
            events_per_s=(len(sent) - 1) / (sent[-1] - sent[0]) if len(sent) > 1 else 0.0,
            behind_ms_max=behind_s * 1000,
            stages_s=self._watch.stages_s,
        )

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        self._watch.begin(name)
        try:
            yield
        finally:
            self._watch.begin(None)


def _encode(past: Past, texts: TextEncoder) -> int:
    """The texts that will be met, so that the cache has their vectors: the catalogue's, and titles in events."""
    found = [item_text(*row) for row in past.catalogue.select("title", "brand", "category").iter_rows()]
    found += [item_text(title) for title in past.events["title"].drop_nulls()]
    distinct = list(dict.fromkeys(found))
    for start in range(0, len(distinct), _TEXTS_AT_ONCE):
        texts.encode(distinct[start : start + _TEXTS_AT_ONCE])
    return len(distinct)


def environment_of(given: Mapping[str, Any], prefix: str = "BEFOREHAND_") -> dict[str, str]:
    """Settings as the variables that a worker's process reads.

    >>> environment_of({"secret": "s", "worker": {"port": 0}, "broker": {"fence": False}})
    {'BEFOREHAND_SECRET': 's', 'BEFOREHAND_WORKER__PORT': '0', 'BEFOREHAND_BROKER__FENCE': 'False'}
    """
    found: dict[str, str] = {}
    for name, value in given.items():
        if isinstance(value, Mapping):
            found |= environment_of(value, f"{prefix}{name.upper()}__")
        else:
            found[prefix + name.upper()] = str(value)
    return found


def _all_predictions(settings: Settings) -> list[Prediction]:
    """Everything on the topic, each id once, in the order of arrival."""
    found: dict[str, Prediction] = {}
    for record in tail(settings, [settings.topics.prefix + topics.PREDICTIONS.name]):
        prediction = codec.decode(record.value, Prediction)
        found.setdefault(prediction.prediction_id, prediction)
    return list(found.values())


def _event(event_id: str) -> Event:
    """An event that has this id, for the ids of the predictions made at it."""
    return Event(Source(0, 0, 0, 0), session="", user=None, kind="purchase", time=0, event_id=event_id)


def _delete_topics(settings: Settings) -> None:
    """Those that this run made, by their names."""
    try:
        with KafkaAdminClient(**connections.kafka_python(settings), bootstrap_timeout_ms=10_000) as client:
            client.delete_topics([topic.name for topic in wanted(settings.topics)])
    except KafkaError as exc:
        raise BeforehandError(
            f"the demo's topics could not be deleted ({exc}); delete those that begin with {settings.topics.prefix}"
        ) from exc

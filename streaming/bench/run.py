"""One bench, from the broker to the report. Read `Bench.run` top to bottom."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop
from pydantic import SecretStr

from streaming import topics
from streaming.bench import echo, gpu, stock_faust, worker
from streaming.bench.arrivals import Burst, Seconds, arrivals, backlog
from streaming.bench.driver import Driver, Left, Watch
from streaming.bench.generated import VISITORS, GeneratedShop
from streaming.bench.ground import Ground
from streaming.bench.load import Load, ShopLog, Visit, generated, searches
from streaming.bench.points import Point, Sample, Work, of_product, of_reference
from streaming.bench.report import ECHO, STOCK, Reference, Report, Size, holds
from streaming.bench.scaling import crew, over_one, sample_of
from streaming.bench.usage import Usage
from streaming.errors import BeforehandError, InputError
from streaming.publisher import Publisher
from streaming.settings import BrokerSettings, Settings, TopicSettings, WorkerSettings
from streaming.worker_process import WorkerProcess, metric

LOOK_S = 0.5
"""Between looks at whether all is decided."""
SAMPLE_S = 2.0
"""Between looks at the worker's metrics, which cost it some milliseconds each."""
SWEEP_FROM, SWEEP_STEPS = 250.0, 4
"""A sweep doubles the rate until it is not held, then halves the gap so many times."""
REST_S = 3.0
"""Between two loads."""
DIRECT = "direct"
"""Topic of the one hop."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What the command line asks for."""

    rate: float = 200.0
    seconds: float = 30.0
    items: tuple[int, ...] = (10_000,)
    """Sizes of generated catalogues, one after the other; not asked for with a shop of one's own."""
    visitors: int = VISITORS
    shop: tuple[Path, Path] | None = None
    """Shop folder and the model folder that was built of it."""
    burst: Burst | None = None
    warm_s: float = 5.0
    """Of each load, from its start: sent, matched, and not timed."""
    encode: bool = False
    """Every event is a search in new words."""
    throttle: bool = False
    """Predictions are held back by the rules of the settings, as a shop's worker does; else each event is answered."""
    sweep: bool = False
    sweep_s: float = 15.0
    peak: int = 5000
    """Events of the backlog that tells the most that can be worked off; 0: none."""
    workers: int = 1
    """More than one: after the backlog of one, as many events to so many workers."""
    references: bool = True
    gpu: bool = False
    brokers: str | None = None
    nodes: int = 1
    partitions: int = 2
    seed: int = 1
    folder: Path = Path("beforehand-bench")
    """Where generated shops are kept for the next time."""

    def __post_init__(self) -> None:
        if self.warm_s < 0 or self.warm_s >= min(self.seconds, self.sweep_s if self.sweep else self.seconds):
            raise InputError(
                f"{self.warm_s:g} s to warm up of {self.seconds:g} s, and of {self.sweep_s:g} s of a sweep's steps;"
                " expected less: give --seconds or --warm-up anew"
            )
        if self.workers > 1 and (not self.peak or self.partitions < self.workers):
            raise InputError(
                f"{self.workers} workers, {self.partitions} partitions, a peak of {self.peak}; expected a partition for"
                " each worker at least, and a backlog: give --partitions 8, and --peak"
            )


@dataclass(slots=True)
class Stand:
    """A worker that is ready, with its topics, and what is sent to it."""

    settings: Settings
    processes: list[WorkerProcess]
    visits: Iterator[Visit]
    items: int
    samples: list[list[Sample]] = field(default_factory=list)
    """Of each process, whenever they were asked."""


class Bench:
    """One run."""

    def __init__(self, options: BenchOptions, say: Say) -> None:
        """`say` hears what is done now."""
        self._options, self._say = options, say
        self._loads = 0

    def run(self) -> Report:
        """All of it. Broker and processes are gone afterwards, however it ends.

        Raises:
            InputError: an option, or a folder.
            BeforehandError: a process ended or is not ready in time; the text has the end of its log.
        """
        options = self._options
        report = Report(
            options.rate, options.seconds, options.warm_s, options.visitors, options.partitions, options.throttle
        )
        with Ground(options.brokers, options.nodes) as ground:
            report.broker = ground.broker.kind
            for number in range(len(options.items) if options.shop is None else 1):
                with self._stand(ground, number) as stand:
                    report.core = stand.settings.worker.core
                    report.sizes.append(uvloop.run(self._measured(ground, stand)))
            if options.references:
                report.references = uvloop.run(self._references(ground))
        if options.gpu:
            self._say("the GPU")
            report.gpu = gpu.measure()
        return report

    # ------------------------------------------------------------------------------------------------------ the product
    async def _measured(self, ground: Ground, stand: Stand) -> Size:
        options, stand_s = self._options, stand.settings
        hear = [topics.PREDICTIONS.name, topics.SUPPRESSED.name]
        async with Driver(stand_s, hear) as driver:
            due = arrivals(options.rate, options.seconds, seed=options.seed, burst=options.burst)
            self._say(f"{len(due):,} events at {options.rate:,.0f}/s to the product, {stand.items:,} items")
            size = Size(stand.items, await self._flown(ground, driver, stand, due, options.rate, options.warm_s))
            if options.peak:
                self._say(f"{options.peak:,} events at once to the product")
                size.peak = await self._flown(ground, driver, stand, backlog(options.peak), float("inf"), 0)
            if options.workers > 1 and size.peak is not None:
                size.scaled = await self._scaled(ground, driver, stand, size.peak)
            if options.sweep:
                size.sweep = await self._sweep(ground, driver, stand)
        return size

    async def _flown(
        self, ground: Ground, driver: Driver, stand: Stand, due: Seconds, rate: float, warm_s: float
    ) -> Point:
        work = Work()
        load = self._load(due, stand.visits)
        if not warm_s:
            work.samples.append(await self._sample(stand))
        ours, theirs = Usage.of(), ground.broker.usage()
        left = await self._left(stand, len(load.rows)) if self._options.throttle else None
        flight = await driver.fly(load, len(load.rows), self._watch(stand, work, warm_s) if warm_s else None, left)
        if not warm_s:
            work.samples.append(await self._sample(stand))
        point = of_product(flight, rate, warm_s)
        point.costs = {"worker": work.as_json()} | self._around(ground, ours, theirs, len(load.rows))
        await asyncio.sleep(REST_S)
        return point

    def _watch(self, stand: Stand, work: Work, warm_s: float) -> Watch:
        async def watch(sent: asyncio.Event) -> None:
            wait = warm_s
            while not sent.is_set():
                try:
                    await asyncio.wait_for(sent.wait(), wait)
                except TimeoutError:
                    pass
                work.samples.append(await self._sample(stand))
                wait = SAMPLE_S

        return watch

    @staticmethod
    async def _left(stand: Stand, events: int) -> Left:
        """Tells how many of the next so many events the workers have not decided on: where predictions are held back,
        nothing is heard of most."""

        async def decided() -> float:
            return Sample.all(await asyncio.to_thread(sample_of, stand.processes)).decided

        before = await decided()

        async def left() -> int:
            await asyncio.sleep(LOOK_S)
            return round(before + events - await decided())

        return left

    async def _sample(self, stand: Stand) -> Sample:
        stand.samples.append(await asyncio.to_thread(sample_of, stand.processes))
        return Sample.all(stand.samples[-1])

    async def _scaled(self, ground: Ground, driver: Driver, stand: Stand, one: Point) -> Point:
        """The same backlog to several workers, after a part of it that warms them up."""
        options, alone = self._options, stand.processes
        self._say(f"{options.peak:,} events at once to {options.workers} workers")
        with crew(alone[0], ground.folder, options.workers) as stand.processes:
            await self._flown(ground, driver, stand, backlog(max(1, options.peak // 4)), float("inf"), 0)
            point = await self._flown(ground, driver, stand, backlog(options.peak), float("inf"), 0)
        stand.processes = alone
        cost = one.costs["worker"]["cpu_us_per_event"], one.events_per_s
        point.costs["over_one"] = over_one(cost, stand.samples[-2], stand.samples[-1], point.events_per_s)
        return point

    async def _sweep(self, ground: Ground, driver: Driver, stand: Stand) -> list[Point]:
        """Points in the order of their rates."""
        options, points = self._options, list[Point]()
        rate, held, failed = SWEEP_FROM, 0.0, float("inf")
        while failed == float("inf") or len(points) < self._doublings(points) + SWEEP_STEPS:
            self._say(f"{rate:,.0f} events/s for {options.sweep_s:.0f} s")
            due = arrivals(rate, options.sweep_s, seed=options.seed + len(points))
            point = await self._flown(ground, driver, stand, due, rate, options.warm_s)
            points.append(point)
            if holds(point):
                held = rate
            else:
                failed = rate
            rate = rate * 2 if failed == float("inf") else (held + failed) / 2
        return sorted(points, key=lambda each: each.rate)

    @staticmethod
    def _doublings(points: list[Point]) -> int:
        """Steps up to and with the first that was not held."""
        return 1 + next(number for number, point in enumerate(points) if not holds(point))

    # --------------------------------------------------------------------------------------------------- the references
    async def _references(self, ground: Ground) -> list[Reference]:
        settings = self._settings(ground, "reference.")
        ground.topics(settings, [DIRECT, echo.IN, echo.OUT, stock_faust.IN, stock_faust.OUT])
        found = [await self._reference(ground, settings, "aiokafka, one hop", DIRECT, DIRECT, None, peak=False)]
        for name, module, peak in ((ECHO, echo, False), (STOCK, stock_faust, True)):
            found.append(
                await self._reference(ground, settings, name, module.IN, module.OUT, module.COMMAND, peak=peak)
            )
        return found

    async def _reference(
        self,
        ground: Ground,
        settings: Settings,
        name: str,
        into: str,
        out: str,
        command: tuple[str, ...] | None,
        *,
        peak: bool,
    ) -> Reference:
        options = self._options
        self._say(f"{name}, at {options.rate:,.0f}/s")
        child = ground.child(name.replace(" ", "-"), command, settings) if command is not None else None
        visits = generated([(number % options.visitors, f"i{number}") for number in range(1_000_000)])
        try:
            async with Driver(settings, [out], rename=into) as driver:
                await driver.probe()
                due = arrivals(options.rate, options.seconds, seed=options.seed, burst=options.burst)
                before = Usage.of(child.pid) if child is not None else None
                ours, theirs = Usage.of(), ground.broker.usage()
                flight = await driver.fly(self._load(due, visits), len(due))
                reference = Reference(name, of_reference(flight, options.rate, options.warm_s))
                reference.point.costs = self._around(ground, ours, theirs, len(due))
                if child is not None and before is not None:
                    after = Usage.of(child.pid)
                    cpu = {"cpu_us_per_event": after.since(before, len(due)), "rss_mb": round(after.rss_mb, 1)}
                    reference.point.costs["worker"] = cpu
                if peak and options.peak:
                    flight = await driver.fly(self._load(backlog(options.peak), visits), options.peak)
                    reference.peak = of_reference(flight, float("inf"), 0)
        finally:
            if child is not None:
                child.stop()
        return reference

    @staticmethod
    def _around(ground: Ground, ours: Usage, theirs: Usage | None, events: int) -> dict[str, Any]:
        """What generator and broker took meanwhile."""
        found = {"generator_cpu_us_per_event": Usage.of().since(ours, events)}
        now = ground.broker.usage()
        if theirs is not None and now is not None:
            found["broker_cpu_us_per_event"] = now.since(theirs, events)
        return found

    # -------------------------------------------------------------------------------------------------------- its parts
    def _load(self, due: Seconds, visits: Iterator[Visit]) -> Load:
        self._loads += 1
        return Load.of(f"bench{self._options.seed}-{self._loads}", due, visits)

    @contextmanager
    def _stand(self, ground: Ground, number: int) -> Iterator[Stand]:
        """A worker of one size, ready."""
        options = self._options
        settings = self._settings(ground, f"bench{number}.")
        if options.shop is not None:
            log, model = ShopLog(options.shop[0]), options.shop[1]
            catalogue, visits = list(log.catalogue()), log.visits()
        else:
            items = options.items[number]
            self._say(f"a shop of {items:,} items: made up, or taken from {options.folder}")
            shop = GeneratedShop.made(options.folder, items)
            model, catalogue = shop.folder, list(shop.catalogue())
            visits = _endless(shop, options.visitors, options.seed)
            encoder = settings.encoder.model_copy(update={"model": "dummy"})
            settings = settings.model_copy(update={"encoder": encoder})
        settings = settings.model_copy(
            update={"worker": settings.worker.model_copy(update={"model": model.resolve(), "id": f"bench{number}"})}
        )
        ground.topics(settings, [])
        self._say(f"the catalogue of {len(catalogue):,} items")
        with Publisher(settings) as publisher:
            for item in catalogue:
                publisher.put_item(item)
            publisher.flush(120)
        process = WorkerProcess(settings, ground.folder, worker.COMMAND).start()
        try:
            _wait_ready(process, len(catalogue))
            yield Stand(settings, [process], searches(visits, catalogue) if options.encode else visits, len(catalogue))
        finally:
            process.stop(20)

    def _settings(self, ground: Ground, prefix: str) -> Settings:
        options, given = self._options, Settings.from_environment(brokers=ground.broker.addresses)
        fence = given.broker.fence if ground.broker.fence is None else ground.broker.fence
        own = ground.broker.kind != "given"
        timeouts = {"session_timeout_s": 6, "heartbeat_s": 1, "request_timeout_s": 20} if own else {}
        return given.model_copy(
            update={
                "secret": given.secret or SecretStr("a secret of the bench, long enough"),
                "broker": BrokerSettings(**given.broker.model_dump(exclude_unset=True) | timeouts | {"fence": fence}),
                "topics": TopicSettings(
                    prefix=f"{given.topics.prefix if not own else ''}{prefix}",
                    partitions=options.partitions,
                    replication=min(3, options.nodes) if own else given.topics.replication,
                ),
                "rules": given.rules if options.throttle else worker.NO_THROTTLE,
                "worker": WorkerSettings(
                    **given.worker.model_dump(exclude_unset=True) | {"data_dir": ground.folder / prefix, "port": 0}
                ),
            }
        )


def _wait_ready(process: WorkerProcess, items: int) -> None:
    end = time.monotonic() + 120 + items / 1000
    process.wait_ready(end - time.monotonic())
    while metric(process.page("/metrics"), "beforehand_items") < items:
        if time.monotonic() > end or not process.running:
            raise BeforehandError(f"the worker does not know all {items} items:\n{process.tail()}")
        time.sleep(0.5)


def _endless(shop: GeneratedShop, visitors: int, seed: int) -> Iterator[Visit]:
    """Generated visits without end, drawn in parts."""
    while True:
        yield from generated(shop.visits(100_000, visitors, seed))
        seed += 1

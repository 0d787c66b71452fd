"""`beforehand torture`."""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from streaming.broker import LocalBroker
from streaming.commands.options import Json
from streaming.errors import InputError
from streaming.kafka_cluster import KafkaCluster, why_not
from streaming.torture.brokers import LocalNode
from streaming.torture.plan import HARMS, Profile, kills, on_local_broker
from streaming.torture.report import Report
from streaming.torture.run import COMPACTION, run


def torture(
    seed: Annotated[int, typer.Option(help="Of the load and the plan; equal seeds do equal harm.")] = 1,
    kills_: Annotated[
        int, typer.Option("--kills", min=0, help="kill -9: of workers, the producer and broker nodes.")
    ] = 10,
    rebalances: Annotated[int, typer.Option(min=0, help="Workers that join or leave.")] = 8,
    others: Annotated[int, typer.Option(min=0, help="How often each other harm is done.")] = 1,
    only: Annotated[
        str | None, typer.Option(metavar="HARM,...", help=f"These alone: {', '.join(HARMS)}.", show_default=False)
    ] = None,
    nodes: Annotated[int, typer.Option(min=1, max=5, help="Of Apache Kafka.")] = 3,
    local: Annotated[bool, typer.Option("--local", help="On the local broker, which proves nothing.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="At most at a time.")] = 3,
    rate: Annotated[float, typer.Option(help="Events a second.")] = 300.0,
    poison: Annotated[float, typer.Option(help="Share of payloads that nobody can read.")] = 0.01,
    repeats: Annotated[float, typer.Option(help="Share of events that the site sends twice.")] = 0.01,
    late: Annotated[float, typer.Option(help="Share of events that come late.")] = 0.05,
    cursed: Annotated[float, typer.Option(help="Share of events that the engine fails on.")] = 0.001,
    latency_budget: Annotated[
        float, typer.Option(help="Milliseconds beyond which workers do less, as the ladder says; 0: none.")
    ] = 0.0,
    stale: Annotated[int, typer.Option(help="Milliseconds beyond which events are not answered; 0: all are.")] = 0,
    deadline: Annotated[float, typer.Option(help="Seconds until a worker whose engine hangs ends itself.")] = 30.0,
    folder: Annotated[
        Path | None, typer.Option(help="For logs and data; none: a temporary one, named where something is wrong.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Do harm by a seeded plan, and account for every event afterwards.

    Starts nodes of Apache Kafka of its own, from BEFOREHAND_KAFKA_HOME, several workers, a producer and a consumer;
    ends when the plan is done and what was sent is worked off. Exit code 1 where anything does not tally. On the local
    broker fewer harms are possible, and nothing is proved: it has no fence, and tells wrong ends.
    """
    reason = why_not()
    if reason is not None and not local:
        raise InputError(f"{reason}; or take --local, which proves nothing")
    harms = kills(kills_) | {"membership": rebalances}
    harms |= {harm: others for harm in HARMS if harm not in harms}
    if only is not None:
        chosen = only.split(",")
        if unknown := [name for name in chosen if name not in HARMS]:
            raise InputError(f"--only {','.join(unknown)}: no such harm, expected some of {', '.join(HARMS)}")
        harms = {harm: harms[harm] for harm in HARMS if harm in chosen}
    harms = on_local_broker(harms) if local else harms
    profile = Profile(
        harms,
        seed=seed,
        rate=rate,
        workers=workers,
        poison=poison,
        repeats=repeats,
        late=late,
        cursed=cursed,
        deadline_s=deadline,
        latency_budget_ms=latency_budget,
        stale_ms=stale,
    )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    for loud, level in (("kafka", logging.CRITICAL), ("faiss", logging.WARNING)):
        logging.getLogger(loud).setLevel(level)
    place = folder or Path(tempfile.mkdtemp(prefix="beforehand-torture-"))
    place.mkdir(parents=True, exist_ok=True)
    if local:
        with LocalBroker(folder=place / "broker") as broker:
            result = run(profile, place, LocalNode(broker), fence=False)
    else:
        with KafkaCluster(place / "kafka", nodes, COMPACTION) as cluster:
            result = run(profile, place, cluster)
    asked = {
        "seed": seed, "kills": kills_, "rebalances": rebalances, "others": others, "only": only, "workers": workers,
        "rate": rate, "poison": poison, "repeats": repeats, "late": late, "cursed": cursed,
        "latency-budget": latency_budget, "stale": stale, "deadline": deadline,
    }  # fmt: skip
    options = [f"--{name} {value}" for name, value in asked.items() if value is not None]
    again = " ".join(["beforehand torture", *options, "--local" if local else f"--nodes {nodes}"])
    report = Report(profile, result, nodes=0 if local else nodes, folder=place, again=again)
    if as_json:
        print(json.dumps(report.as_json()))
    else:
        report.show(Console())
    if result.ledger.faults():
        raise typer.Exit(1)

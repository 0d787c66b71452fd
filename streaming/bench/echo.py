"""The floor: aiokafka alone, a process that writes each record that it reads, and awaits the deliveries of what it read
at once before it reads on. Two hops, as those of a prediction are.

BEFOREHAND_BROKERS=... python -m streaming.bench.echo
"""

from __future__ import annotations

import asyncio
import gc

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from streaming import connections, cores
from streaming.settings import Settings

IN, OUT = "echo-in", "echo-out"
COMMAND = ("-m", "streaming.bench.echo")
"""After the interpreter."""


async def echo(settings: Settings) -> None:
    """Until the process is ended."""
    cores.keep_to(settings.worker.core)
    client, prefix = connections.aiokafka(settings), settings.topics.prefix
    producer = AIOKafkaProducer(**client, acks="all", enable_idempotence=settings.broker.fence)
    consumer = AIOKafkaConsumer(
        prefix + IN, **client, group_id=f"{prefix}echo", auto_offset_reset="earliest", enable_auto_commit=True
    )
    async with producer, consumer:
        gc.freeze()
        while True:
            found = await consumer.getmany(timeout_ms=1000)
            sent = [
                await producer.send(prefix + OUT, row.value, key=row.key) for rows in found.values() for row in rows
            ]
            await asyncio.gather(*sent)


if __name__ == "__main__":
    uvloop.run(echo(Settings.from_environment()))

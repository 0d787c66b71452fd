"""A worker with a fault in it, to see the torture fail.

python -m tests.torture.worker_without fence

fence       any worker can write any state, as in stock Faust: one that was paused overwrites newer states
holding     source partitions flow as soon as stock Faust resumes them, and nothing looks for holes in the
            offsets: what is fetched before the queues are cleared is never read, and is committed
delivery    events are acknowledged as they are read, before anything of them is decided or delivered
place       states go to the partition beside their own
letters     dead letters are not sent
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from faust.cli.faust import cli
from faust.transport.drivers import aiokafka as driver

from streaming import topics
from streaming.batcher import Batcher
from streaming.event_queue import Received
from streaming.reading import HeldConsumer
from streaming.torture.worker import FAUST
from streaming.writing import FencedProducer

_append, _deliver, _round = FencedProducer.append, FencedProducer.deliver, Batcher._round
_acknowledge = HeldConsumer.acknowledge


def _let_everything_through(_: HeldConsumer, message: Any) -> list[Received]:
    return [Received(record, message.generation_id) for record in message.value]


def _acknowledge_whatever_comes(self: HeldConsumer, received: Sequence[Received]) -> None:
    for each in received:
        self._done[each.message.topic, each.message.partition] = each.message.offset
        _acknowledge(self, [each])


def _nothing_to_release(self: HeldConsumer) -> None:
    self._holding = False


async def _acknowledged_first(self: Batcher, received: Any) -> None:
    generation, reader = self._generation(), self._reader()
    reader.acknowledge([each for each in received if isinstance(each, Received) and each.generation == generation])
    await asyncio.sleep(0)
    acknowledge, reader.acknowledge = reader.acknowledge, lambda _: None  # type: ignore[method-assign]
    await _round(self, received)
    reader.acknowledge = acknowledge  # type: ignore[method-assign]


async def _beside(self: FencedProducer, batches: Mapping[int, Any]) -> dict[int, int]:
    """Where it owns the partition beside: elsewhere its fence would stop it."""
    owned = sorted(self.app.consumer.owned_partitions())
    beside = {number: owned[(place + 1) % len(owned)] for place, number in enumerate(owned)}
    newest = await _append(self, {beside[number]: records for number, records in batches.items()})
    return {number: newest[beside[number]] for number in batches}


async def _without_letters(self: FencedProducer, records: Iterable[Any]) -> None:
    await _deliver(self, [each for each in records if not each[0].endswith(topics.DEAD_LETTERS.name)])


def without(protection: str) -> None:
    """Puts the fault in, in this process.

    Raises:
        KeyError: there is no such fault.
    """
    changes: dict[str, list[tuple[type, str, Any]]] = {
        "fence": [(FencedProducer, "_new_producer", driver.Producer._new_producer)],
        "holding": [
            (HeldConsumer, "resume_partitions", driver.Consumer.resume_partitions),
            (HeldConsumer, "release", _nothing_to_release),
            (HeldConsumer, "admit", _let_everything_through),
            (HeldConsumer, "acknowledge", _acknowledge_whatever_comes),
            (HeldConsumer, "perform_seek", driver.Consumer.perform_seek),
        ],
        "delivery": [(Batcher, "_round", _acknowledged_first)],
        "place": [(FencedProducer, "append", _beside)],
        "letters": [(FencedProducer, "deliver", _without_letters)],
    }
    for owner, name, original in changes[protection]:
        setattr(owner, name, original)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        without(argument)
    sys.argv = FAUST
    cli()

"""A worker with one of its protections taken away, to see the torture fail.

python -m tests.torture.worker_without fence

fence     any worker can write any state, as in stock Faust: one that was paused overwrites newer states
holding   source partitions flow as soon as stock Faust resumes them, and nothing looks for holes in the
          offsets: what is fetched before the queues are cleared is never read, and is committed
"""

from __future__ import annotations

import sys
from typing import Any

from faust.cli.faust import cli
from faust.transport.drivers import aiokafka as driver

from streaming.reading import HeldConsumer
from streaming.writing import FencedProducer


def _let_everything_through(_: HeldConsumer, __: Any) -> bool:
    return True


def _nothing_to_release(self: HeldConsumer) -> None:
    self._holding = False


def without(protection: str) -> None:
    """Puts Faust's own behaviour back, in this process.

    Raises:
        KeyError: there is no such protection.
    """
    changes: dict[str, list[tuple[type, str, Any]]] = {
        "fence": [(FencedProducer, "_new_producer", driver.Producer._new_producer)],
        "holding": [
            (HeldConsumer, "resume_partitions", driver.Consumer.resume_partitions),
            (HeldConsumer, "release", _nothing_to_release),
            (HeldConsumer, "admit", _let_everything_through),
            (HeldConsumer, "perform_seek", driver.Consumer.perform_seek),
            (HeldConsumer, "_add_gap", driver.Consumer._add_gap),
        ],
    }
    for owner, name, original in changes[protection]:
        setattr(owner, name, original)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        without(argument)
    sys.argv = ["faust", "-A", "streaming.app", "-L", "uvloop", "worker", "--without-web", "-l", "info"]
    cli()

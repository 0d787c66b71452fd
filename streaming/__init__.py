"""Beforehand: tells a shop what its visitors will want, before they ask.

What a shop's own programs use: `EventProducer` says what visitors do, `PredictionConsumer` what they will want, and
`pseudonym` finds a visitor in what comes out. Each is loaded when it is first asked for, so that `beforehand --help`
does not wait for a Kafka client.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streaming.consumer import PredictionConsumer
    from streaming.privacy import pseudonym
    from streaming.producer import EventProducer

__all__ = ["EventProducer", "PredictionConsumer", "pseudonym"]

_HOMES = {
    "EventProducer": "streaming.producer",
    "PredictionConsumer": "streaming.consumer",
    "pseudonym": "streaming.privacy",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)

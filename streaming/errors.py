"""Errors of `streaming`, one tree. A class stands here only where someone handles it otherwise.

BeforehandError              anything the product raises on purpose; its text names value, expectation, remedy
├── InputError               the caller's input or setting is wrong; trying again does not help (exit code 2)
│   └── LeakError            what was to be foretold had been learned from: no figure of it means anything
├── BrokerError              the broker refused or did not answer; trying again may help (exit code 1)
└── DeliveryError            a record was not accepted by the broker; carries the record's key and topic
"""

from __future__ import annotations


class BeforehandError(Exception):
    """Root of the tree: catch it to catch everything the product raises on purpose."""


class InputError(BeforehandError):
    """The input or a setting is wrong. Nothing was done; the same call fails again."""


class LeakError(InputError):
    """What was to be foretold had been learned from. Nothing was scored."""


class BrokerError(BeforehandError):
    """The broker refused or did not answer. The same call may succeed later."""


class DeliveryError(BrokerError):
    """A record was not accepted by the broker, so nobody downstream will see it."""

    def __init__(self, message: str, *, topic: str, key: bytes | None) -> None:
        super().__init__(message)
        self.topic = topic
        self.key = key

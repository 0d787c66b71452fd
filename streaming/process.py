"""The process that a worker is: how it is made, how it stops, and that it never ends without a code that says why.

Faust ends with 1 whatever went wrong: a part of it that crashed (a commit, the fetcher, a recovery, its thread), a
start without a broker, a local copy that cannot be opened. Here each of them ends the process at once, with a code of
docs/guarantees.md.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import faust
from aiokafka.errors import KafkaError
from faust.exceptions import ConsistencyError, ProducerSendError

from encoders.errors import EncoderError
from index.errors import IndexingError
from streaming.errors import BeforehandError, BrokerError
from streaming.exits import Exit, die

App = TypeVar("App")

STOP_GRACE_S = 15
"""A clean stop that takes longer is cut short: nothing is lost by it."""
OURS = (BeforehandError, EncoderError, IndexingError)
BROKERS = (KafkaError, ProducerSendError, BrokerError, ConnectionError, TimeoutError)
LOCAL = (ConsistencyError, OSError)


def code_of(reason: BaseException | None) -> Exit:
    """What an exception means that nobody handled and that ends a worker.

    >>> code_of(KafkaError("away")).name, code_of(OSError(28, "No space left")).name, code_of(KeyError("x")).name
    ('DELIVERY', 'STATE', 'CRASHED')
    """
    if isinstance(reason, BROKERS):
        return Exit.DELIVERY
    if isinstance(reason, OURS):
        return Exit.USAGE
    if isinstance(reason, LOCAL) or type(reason) is Exception:  # rocksdict knows no other type
        return Exit.STATE
    return Exit.CRASHED


def made(create: Callable[[], App]) -> App:
    """What `create` makes; where it cannot, the process ends, with one line where a person can mend it."""
    try:
        return create()
    except OURS as exc:
        print(f"beforehand: {exc}", file=sys.stderr)
        sys.exit(Exit.USAGE)
    except Exception as exc:
        logging.getLogger(__name__).exception("the worker cannot be made")
        die(code_of(exc), exc)
        raise


class WorkerProcess(faust.Worker):
    """Faust's process, with its own web server off, a stop that always ends, and an end that always has a code."""

    def __init__(self, app: Any, *args: Any, **kwargs: Any) -> None:
        app.conf.web_enabled = False  # the command line turns it on: it binds all addresses and serves the states
        super().__init__(app, *args, **kwargs)

    def on_setup_root_logger(self, root: logging.Logger, level: int) -> None:
        super().on_setup_root_logger(root, level)
        for client in ("aiokafka", "faust.transport", "kafka"):  # at DEBUG they cost a sixth of the busy time
            logging.getLogger(client).setLevel(max(level, logging.WARNING))

    def install_signal_handlers(self) -> None:
        super().install_signal_handlers()
        self.loop.add_signal_handler(signal.SIGTERM, self._terminate)

    def _terminate(self) -> None:
        """Stop cleanly, but before the first assignment just end: nothing is in flight, and a stop at that point can
        leave the group with a leader that never assigns."""
        if not self.app.was_ready:
            die(Exit.STOPPED, "SIGTERM before ready")
        timer = threading.Timer(STOP_GRACE_S, die, (Exit.STOPPED, "a clean stop took too long"))
        timer.daemon = True
        timer.start()
        self._on_sigterm()

    # ------------------------------------------------------------------------------------------------------- the end
    async def start(self) -> None:
        """As Faust's; what keeps it from starting ends the process."""
        try:
            await super().start()
        except Exception as exc:
            die(code_of(exc), exc)

    def _crash(self, reason: BaseException) -> None:
        """A part of Faust failed, and tells all above it. Stock, the process stops in order, and ends with 1."""
        die(code_of(reason), reason)

    def execute_from_commandline(self) -> None:
        """As Faust's; a stop that fails ends with a code, too."""
        try:
            super().execute_from_commandline()
        except SystemExit as ended:
            if ended.code:
                die(code_of(ended.__context__), ended.__context__)
            raise

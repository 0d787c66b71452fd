"""A program that we start, that ends with us, and that we stop by its process id."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from streaming.errors import BeforehandError

# Runs in the new process before the program: on Linux the kernel is told to end it when the starting thread
# ends, whatever ended that (kill -9 too). The check after it covers a parent that went in between. It is no
# `preexec_fn`, which is unsafe beside threads.
_LAUNCH = """
import os, sys
parent, program = int(sys.argv[1]), sys.argv[2:]
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 9)
if os.getppid() != parent:
    sys.exit(1)
os.execve(program[0], program, os.environ)
"""


class Child:
    """A child process in a session of its own: Ctrl-C reaches us alone, and we stop our children in order.

    Its output goes to `log`. It ends when `stop` is called, and, on Linux, when the thread that started it
    ends, so start it in a thread that lives as long as it is needed.

    >>> import tempfile
    >>> with Child([sys.executable, "-c", "print('hello')"], Path(tempfile.mkdtemp()) / "log") as child:
    ...     child.wait(20), child.tail()
    (0, 'hello')
    """

    def __init__(self, program: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        """Start it; `program[0]` is a path. The environment is ours where none is given."""
        self.log = log
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid())]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*launcher, *program],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment) if environment is not None else None,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.poll()

    def wait(self, timeout_s: float) -> int | None:
        """Its exit code, or None when it still runs after `timeout_s`."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def check(self, name: str) -> None:
        """Nothing while it runs; else an error with the end of its log.

        Raises:
            BeforehandError: it has ended.
        """
        if self.exit_code is not None:
            raise BeforehandError(
                f"{name} ended with code {self.exit_code}; the end of its log ({self.log}):\n{self.tail()}"
            )

    def stop(self, patience_s: float = 5) -> int:
        """SIGTERM, then SIGKILL after `patience_s`; returns the exit code. Calling it again does nothing."""
        if self.exit_code is None:
            self._process.send_signal(signal.SIGTERM)
            if self.wait(patience_s) is None:
                self._process.kill()
        return self._process.wait()

    def tail(self, lines: int = 20) -> str:
        """The last lines of its log."""
        with self.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 16_384))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

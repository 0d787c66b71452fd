"""A child process: started, asked, stopped."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from streaming.child import Child
from streaming.errors import BeforehandError


def python(script: str) -> list[str]:
    return [sys.executable, "-c", script]


def test_its_environment_and_its_exit_code_are_its_own(tmp_path: Path) -> None:
    script = "import os, sys; print(os.environ['WHO']); sys.exit(7)"
    with Child(python(script), tmp_path / "log", {"WHO": "child"}) as child:
        assert child.wait(20) == 7
        assert child.tail() == "child"
        with pytest.raises(BeforehandError, match="(?s)the baker ended with code 7.*child"):
            child.check("the baker")


def test_one_that_runs_is_stopped_by_a_signal(tmp_path: Path) -> None:
    with Child(python("import time; print('up', flush=True); time.sleep(60)"), tmp_path / "log") as child:
        child.check("the sleeper")
        assert child.exit_code is None
        assert child.stop() == -15
        assert child.stop() == -15


def test_one_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    with Child(python(script), tmp_path / "log") as child:
        until = time.monotonic() + 20
        while child.tail() != "deaf" and time.monotonic() < until:
            time.sleep(0.02)
        assert child.stop(patience_s=0.2) == -9


def test_the_tail_is_the_end_of_a_long_log(tmp_path: Path) -> None:
    with Child(python("for n in range(50_000): print(n)"), tmp_path / "log") as child:
        child.wait(20)
        assert child.tail(2) == "49998\n49999"

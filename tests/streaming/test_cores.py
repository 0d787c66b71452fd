"""A worker that is told to keeps to one core, with threads that were there and those that come."""

import os
import subprocess
import sys

import pytest
from pydantic import SecretStr

from streaming import cores
from streaming.app import create_app
from streaming.errors import InputError
from streaming.settings import Settings, WorkerSettings

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no system call for it here")

PROGRAM = """
import os, sys, threading
from streaming import cores
wait = threading.Event()
threads = [threading.Thread(target=wait.wait)]
threads[0].start()
cores.keep_to(int(sys.argv[1]))
threads.append(threading.Thread(target=wait.wait))
threads[1].start()
print([sorted(os.sched_getaffinity(thread.native_id)) for thread in (threading.main_thread(), *threads)])
print(cores.at_most(4))
wait.set()
"""
"""In a process of its own, for this one goes on."""


def test_all_threads_keep_to_the_core() -> None:
    core = max(os.sched_getaffinity(0))
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(core)], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == [str([[core]] * 3), "1"]


def test_a_core_that_is_not_there_is_refused_by_name_and_none_is_no_order() -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(InputError, match=r"core 4096: expected one that this process may run on, of \d"):
        cores.keep_to(4096)
    cores.keep_to(None)
    assert os.sched_getaffinity(0) == before
    assert cores.at_most(10**6) == len(before)
    assert cores.at_most(1) == 1


def test_a_worker_does_as_its_settings_say_before_it_loads_anything() -> None:
    with pytest.raises(InputError, match="core 4096: expected one"):
        create_app(Settings(secret=SecretStr("a secret, long enough"), worker=WorkerSettings(core=4096)))


def test_the_setting_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFOREHAND_WORKER__CORE", "1")
    assert Settings.from_environment().worker.core == 1
    monkeypatch.delenv("BEFOREHAND_WORKER__CORE")
    assert Settings.from_environment().worker.core is None
    monkeypatch.setenv("BEFOREHAND_WORKER__CORE", "-1")
    with pytest.raises(InputError, match=r"(?i)core"):
        Settings.from_environment()

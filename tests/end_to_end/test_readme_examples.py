"""The examples of README.md are run as they stand there, on a broker."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from streaming import codec, topics
from streaming.records import EventRecord
from streaming.settings import Settings
from streaming.worker_process import environment
from tests.end_to_end.test_clients import prediction, put_predictions
from tests.stage import Stage, eventually

README = Path(__file__).parents[2] / "README.md"


def example(name: str) -> str:
    found = re.search(rf"<!-- example: {name} -->\s*```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert found, f"README.md has no example {name!r}"
    return found.group(1)


def test_the_readme_s_producer_runs(stage: Stage, settings: Settings) -> None:
    result = subprocess.run(
        [sys.executable, "-c", example("producer")],
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    rows = [*stage.raw(topics.BROWSES), *stage.raw(topics.CLICKS)]
    assert {codec.decode(row.value, EventRecord).kind for row in rows} >= {"view"}


def test_the_readme_s_consumer_runs(stage: Stage, settings: Settings, tmp_path: Path) -> None:
    put_predictions(stage, prediction("p"))
    printed = tmp_path / "printed"
    with printed.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-u", "-c", example("consumer")], env=environment(settings), stdout=file, stderr=file
        )
    try:
        eventually(printed.read_text, lambda text: "lamp2" in text, seconds=40)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()

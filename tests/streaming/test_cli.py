from __future__ import annotations

import inspect
import re
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer

from streaming import cli
from streaming.cli import COMMANDS, Command, main
from streaming.errors import BeforehandError, BrokerError, InputError

MODULES = Path(cli.__file__).parent / "commands"


def ended(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return int(caught.value.code or 0)


def plain(text: str) -> str:
    """Text of a help page without frames, colours and line breaks."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m|[│╭╮╰╯─]", " ", text).split())


def target(command: Command) -> Any:
    module, _, attribute = command.target.partition(":")
    return getattr(import_module(module), attribute)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_each_command_is_what_the_help_page_says(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = target(COMMANDS[name])
    text = found.info.help if isinstance(found, typer.Typer) else inspect.getdoc(found)
    assert text.splitlines()[0] == COMMANDS[name].summary
    assert ended(name, "--help") == 0
    page = plain(capsys.readouterr().out)
    assert plain(COMMANDS[name].summary.replace("`", "")) in page.replace("`", "")


def test_every_module_of_commands_is_registered() -> None:
    registered = {command.target.partition(":")[0].rpartition(".")[2] for command in COMMANDS.values()}
    shared = {"__init__", "options", "text"}
    assert {path.stem for path in MODULES.glob("*.py")} - shared == registered


def test_the_help_page_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("--help") == 0
    page = plain(capsys.readouterr().out)
    for name in COMMANDS:
        assert f" {name} " in page


def test_the_help_page_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom streaming.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print('loaded:', sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    page = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = set(re.findall(r"'(\w+)'", page.partition("loaded:")[2]))
    assert "typer" in loaded
    assert not loaded & {"torch", "transformers", "faust", "faiss", "kafka", "aiokafka", "polars", "numpy", "pydantic"}


def test_importing_the_package_loads_nothing_and_its_names_are_there() -> None:
    code = (
        "import sys, streaming\n"
        "before = set(sys.modules)\n"
        "names = [streaming.EventProducer, streaming.PredictionConsumer, streaming.pseudonym]\n"
        "heavy = {'torch', 'transformers', 'faust', 'faiss', 'polars', 'numpy', 'aiokafka'}\n"
        "assert 'kafka' not in before and not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "assert not hasattr(streaming, 'nothing')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_version_is_the_distribution_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("--version") == 0
    assert capsys.readouterr().out.strip() == version("beforehand")


@pytest.mark.parametrize(
    "arguments", [["nosuch"], ["replay"], ["replay", "x", "--nosuch"], ["consume", "--limit", "0"], []]
)
def test_wrong_usage_is_2(arguments: list[str]) -> None:
    assert ended(*arguments) == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("the value 7, expected 8; change it"), 2),
        (BrokerError("no answer"), 1),
        (BeforehandError("other"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_errors_end_with_their_code_and_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int
) -> None:
    def failing() -> None:
        """Fails."""
        raise error

    module = sys.modules[__name__]
    monkeypatch.setattr(module, "failing", failing, raising=False)
    monkeypatch.setattr(cli, "COMMANDS", {"failing": Command(f"{__name__}:failing", "Fails.")})
    assert ended("failing") == code
    expected = f"beforehand: {error}\n" if isinstance(error, Exception) else ""
    assert capsys.readouterr() == ("", expected)


def test_a_wrong_setting_is_named_before_anything_is_tried(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BEFOREHAND_TOPICS__PARTITIONS", "none")
    assert ended("sessions") == 2
    assert "BEFOREHAND_TOPICS__PARTITIONS" in capsys.readouterr().err


def test_python_m_streaming_is_the_same_command() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "streaming", "--version"], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == version("beforehand")

"""Settings: read from the environment once, each used, each explained, none of them leaking a secret."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from streaming.errors import InputError
from streaming.settings import Section, Settings

SOURCES = Path(__file__).resolve().parents[2] / "streaming"


def fields(model: type[BaseModel], before: str = "") -> Iterator[tuple[str, str | None]]:
    """Name and docstring of every setting."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            yield from fields(kind, f"{before}{name}.")
        else:
            yield before + name, field.description


ALL = dict(fields(Settings))


def test_the_environment_names_them_by_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFOREHAND_BROKERS", "a:1, b:2,")
    monkeypatch.setenv("BEFOREHAND_RULES__DAILY_CAP", "5")
    monkeypatch.setenv("BEFOREHAND_WORKER__PORT", "0")
    settings = Settings.from_environment(worker={"id": "w7"})
    assert settings.brokers == ("a:1", "b:2")
    assert (settings.rules.daily_cap, settings.rules.quiet_ms) == (5, 20_000)
    assert (settings.worker.port, settings.worker.id) == (0, "w7")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BEFOREHAND_RULES__DAILY_CAP", "-1"),
        ("BEFOREHAND_RULES__DAILY_CUP", "5"),
        ("BEFOREHAND_WORKER__CLOCK", "sundial"),
        ("BEFOREHAND_TOPICS__PREFIX", "a b"),
    ],
)
def test_a_wrong_variable_is_named_with_its_value(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=f"{name}: .*{value}"):
        Settings.from_environment()


def test_secrets_do_not_print() -> None:
    settings = Settings(secret="the shop's own secret", broker={"password": "open sesame"})  # type: ignore[arg-type]
    assert "own secret" not in repr(settings)
    assert "sesame" not in repr(settings)
    assert "sesame" not in str(settings.model_dump())


def test_every_setting_says_what_it_is() -> None:
    sections = set(Settings.model_fields) - {"brokers", "secret", "no_pseudonyms", "heads"}
    assert sections == {"broker", "topics", "rules", "triggers", "encoder", "evaluation", "worker"}
    assert [name for name, told in ALL.items() if not told] == []


def test_every_setting_is_read_by_somebody() -> None:
    read = {
        node.attr
        for path in SOURCES.rglob("*.py")
        if path.name != "settings.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
    }
    assert [name for name in ALL if name.rpartition(".")[2] not in read] == []
    assert len(ALL) > 40

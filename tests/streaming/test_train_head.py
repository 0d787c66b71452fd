"""`beforehand train-head` as people run it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from encoders.heads.head import Head
from streaming.cli import application, main
from tests.encoders.heads.table import THINGS, texts


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BEFOREHAND_ENCODER__MODEL", "dummy")
    monkeypatch.setenv("BEFOREHAND_ENCODER__CACHE_DIR", str(tmp_path / "vectors"))
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """300 things by name, with their kind, their price, a relevance and a group."""
    rows = [
        f"{text},{thing},{THINGS[thing]},{int(thing == 'lamp')},g{row // 6}"
        for row, (text, thing) in enumerate(texts(300, 0))
    ]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["title,kind,price,relevance,asked", *rows]))
    return path


def run(*arguments: str | Path) -> Result:
    told = ["train-head", *map(str, arguments)]
    return CliRunner().invoke(application(told), told)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["train-head", *map(str, arguments)])
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_a_table_for_people(file: Path, tmp_path: Path) -> None:
    done = run("--task", "classification", "--text", "title", "--label", "kind", "--out", tmp_path / "head", file)
    assert done.exit_code == 0, done.output
    for words in ("Classification report", "TF-IDF, logistic regression", "macro avg", "Confusion", "cut by hash"):
        assert words in done.stdout
    head = Head.load(tmp_path / "head")
    assert head.manifest.labels == tuple(sorted(THINGS))
    assert (head.manifest.text, head.manifest.label, head.manifest.seed) == ("title", "kind", 0)
    assert head.manifest.metrics["accuracy"] == 1
    assert head.version in done.stdout


def test_one_json_object_and_nothing_else(file: Path) -> None:
    done = run("--task", "classification", "--text", "title", "--label", "kind", "--seed", "3", "--json", file)
    told = json.loads(done.stdout)
    assert (told["task"], told["seed"], told["head"], told["main"]) == ("classification", 3, None, "accuracy")
    assert told["metrics"].keys() == {"accuracy", "macro_f1", "log_loss", "ece"}
    assert told["baselines"].keys() == {"majority class", "TF-IDF, logistic regression"}
    assert told["rows"]["test"] == told["n"] == sum(sum(row) for row in told["confusion"])
    assert {"versions", "machine", "gains", "classes", "data", "encoder"} <= told.keys()


def test_numbers_and_groups_go_through_the_same_door(file: Path, tmp_path: Path) -> None:
    numbers = run("--task", "regression", "--text", "title", "--label", "price", "--json", file)
    assert json.loads(numbers.stdout)["metrics"].keys() == {"mae", "rmse", "r2"}
    ranked = run(
        *("--task", "ranking", "--text", "title", "--label", "relevance", "--group", "asked", "--loss", "pairwise"),
        *("--json", "--out", tmp_path / "head", file),
    )
    told = json.loads(ranked.stdout)
    assert told["metrics"]["ndcg_10"] > told["baselines"]["random order"]["ndcg_10"]
    assert told["cut"] == "hash of asked, seed 0"
    assert told["head"]["version"] == Head.load(tmp_path / "head").version


def test_a_part_named_by_a_column_is_told_where_it_shares_texts(tmp_path: Path) -> None:
    rows = [f"{text},{thing},{'train' if row % 4 else 'test'}" for row, (text, thing) in enumerate(texts(120, 0))]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["title,kind,split", *rows, *(row.replace(",test", ",train") for row in rows[:8])]))
    done = run("--task", "classification", "--text", "title", "--label", "kind", path)
    assert "cut by column split" in done.stdout
    assert "texts of the test part stand in the part to learn from" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--task", "classification", "--label", "nothing"], "has no column 'nothing'"),
        (["--task", "regression", "--label", "kind"], "is no finite number"),
        (["--task", "ranking", "--label", "relevance"], "expected --group with ranking"),
        (["--task", "classification", "--label", "kind", "--group", "asked"], "expected --group with ranking"),
        (["--task", "classification", "--label", "title"], "with one row only"),
        (["--task", "classification", "--label", "kind", "--layers", "2"], "--layers 2 without --tune-encoder"),
        (["--task", "classification", "--label", "kind", "--tune-encoder"], "'dummy', expected a BERT"),
        (["--task", "classification", "--label", "kind", "--model", "/no/such"], "text model '/no/such'"),
    ],
)
def test_what_is_refused_ends_with_2_and_writes_nothing(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    error = refused(capsys, *arguments, "--text", "title", "--out", out / "head", file)
    assert told in error
    assert error.startswith("beforehand: ")
    assert error.count("\n") == 1
    assert list(out.iterdir()) == []


def test_a_constant_label_and_a_place_that_is_taken(
    tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "constant.csv"
    path.write_text("\n".join(["title,kind", *(f"{text},lamp" for text, _ in texts(60, 0))]))
    assert "every label is 'lamp'" in refused(
        capsys, "--task", "classification", "--text", "title", "--label", "kind", path
    )
    (tmp_path / "vectors").mkdir(exist_ok=True)
    (tmp_path / "vectors" / "mine.txt").write_text("mine")
    told = refused(
        capsys, *("--task", "classification", "--text", "title", "--label", "kind"), "--out", tmp_path / "vectors", file
    )
    assert "exists and is no head" in told

"""`beforehand train-head`: a table of texts and labels to a head that a worker serves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from encoders.bert import BertTextEncoder
from encoders.heads.fitting import TASKS, evaluate, fit
from encoders.heads.head import Head, check_place
from encoders.heads.metrics import Report
from encoders.heads.training import FitSettings, Note
from streaming.commands.options import Json
from streaming.errors import InputError
from streaming.labelled import Columns, Labelled, read_labelled, with_split
from streaming.provenance import machine, versions
from streaming.settings import Settings
from streaming.text_encoder import text_encoder

CLASSES_SHOWN = 40
CONFUSION_SHOWN = 12


class _Task(StrEnum):
    CLASSIFICATION = "classification"
    REGRESSION = "regression"
    RANKING = "ranking"


class _Loss(StrEnum):
    LISTWISE = "listwise"
    PAIRWISE = "pairwise"


def train_head(
    file: Annotated[Path, typer.Argument(help="Parquet, CSV, TSV or JSON Lines, the latter also with .gz.")],
    task: Annotated[_Task, typer.Option(help="What a label is: a class, a number, or a relevance in its group.")],
    text: Annotated[str, typer.Option(metavar="COLUMN", help="The column of the texts.")],
    label: Annotated[str, typer.Option(metavar="COLUMN", help="The column of the labels.")],
    group: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Ranking: whose candidates the rows are.", show_default=False),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Each row's part: train, valid or test; else the column `split`, else a hash of the text (ranking:"
            " of the group).",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="HEAD", help="The head's folder to write; else nothing is kept.", show_default=False),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="ENCODER", help="A BERT by name or path; else BEFOREHAND_ENCODER__MODEL.", show_default=False
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1)] = 0,
    rare: Annotated[
        int, typer.Option(min=0, help="Classification: set rows of classes with fewer rows than that aside.")
    ] = 0,
    balanced: Annotated[
        bool, typer.Option("--balanced", help="Classification: every class weighs the same, whatever its rows.")
    ] = False,
    loss: Annotated[_Loss, typer.Option(help="Ranking: over a group's list, or over its pairs.")] = _Loss.LISTWISE,
    words: Annotated[
        bool, typer.Option("--words/--no-words", help="Features of words beside the text's vector.")
    ] = True,
    tune_encoder: Annotated[
        bool, typer.Option("--tune-encoder", help="Train the encoder too; the head then brings its own.")
    ] = False,
    layers: Annotated[int, typer.Option(min=0, help="With --tune-encoder: the last layers only; 0: all of it.")] = 0,
    epochs: Annotated[int, typer.Option(min=1, max=100, help="With --tune-encoder: most passes.")] = 4,
    as_json: Json = False,
) -> None:
    """Train a head on a table of texts and labels: classes, numbers or relevances.

    The text encoder stays as it is unless --tune-encoder says otherwise. One part of the table is learned from, one
    chooses when to stop and how sure to be, one is reported on, beside baselines. A worker serves what --out keeps by
    BEFOREHAND_HEADS=name=HEAD.
    """
    if (task is _Task.RANKING) != (group is not None):
        raise InputError(f"--task {task.value} with --group {group}, expected --group with ranking, and only there")
    if layers and not tune_encoder:
        raise InputError(f"--layers {layers} without --tune-encoder, expected both; add it, or leave --layers out")
    if out is not None:
        check_place(out)
    columns = with_split(file, Columns(text, label, group, split))
    labelled = read_labelled(file, columns, task=task.value, seed=seed, rare=rare)
    fitting = FitSettings(
        seed=seed,
        balanced=balanced,
        loss=loss.value,
        words=words,
        layers=layers if tune_encoder else None,
        tune_epochs=epochs,
    )
    wanted = TASKS[task.value](labelled.parts, fitting)
    settings = Settings.from_environment()
    if model is not None:
        settings = settings.model_copy(update={"encoder": settings.encoder.model_copy(update={"model": model})})
    with _bars(Console(stderr=True)) as note, text_encoder(settings) as texts:
        network = _trainable(settings) if tune_encoder else None
        trained = fit(wanted, text, label, texts, note, network)
        report = evaluate(wanted, trained, note)
        head = trained.save(out, report) if out is not None else trained.head
    if as_json:
        print(json.dumps(as_told(report, head, labelled, file, out), ensure_ascii=False))
    else:
        _show(Console(), report, head, labelled, out)


def as_told(report: Report, head: Head, labelled: Labelled, file: Path, out: Path | None) -> dict[str, Any]:
    """The command's JSON object (docs/heads.md)."""
    manifest = head.manifest
    return {
        "task": manifest.task,
        "file": file.name,
        "data": manifest.data,
        "text": manifest.text,
        "label": manifest.label,
        "rows": labelled.parts.counts(),
        "set_aside": labelled.set_aside,
        "cut": labelled.cut,
        "shared_texts": labelled.shared_texts,
        "n": report.n,
        "metrics": report.metrics,
        "baselines": report.baselines,
        "main": report.main,
        "gains": report.gains,
        **report.detail,
        "encoder": manifest.encoder,
        "own_encoder": head.manifest.own_encoder,
        "settings": dict(manifest.settings),
        "seed": manifest.seed,
        "head": None if out is None else {"folder": str(out), "version": head.version},
        "versions": versions(),
        "machine": machine(),
    }


def _trainable(settings: Settings) -> BertTextEncoder:
    wanted = settings.encoder
    if wanted.model == "dummy":
        raise InputError("--tune-encoder with the encoder 'dummy', expected a BERT; name one by --model")
    return BertTextEncoder(wanted.model, device=wanted.device, batch=wanted.batch, threads=wanted.threads)


def _show(console: Console, report: Report, head: Head, labelled: Labelled, out: Path | None) -> None:
    """For people."""
    counts = ", ".join(f"{count} {name}" for name, count in labelled.parts.counts().items())
    console.print(f"Rows: {counts} (cut by {labelled.cut})", highlight=False)
    if labelled.set_aside:
        aside = ", ".join(f"{count} {reason}" for reason, count in labelled.set_aside.items())
        console.print(f"Set aside: {aside}", highlight=False)
    if labelled.shared_texts:
        console.print(
            f"[yellow]{labelled.shared_texts} texts of the test part stand in the part to learn from, too: what is "
            "measured may be too good for texts that are new",
            highlight=False,
        )
    table = Table(title=f"Test part, n = {report.n}")
    table.add_column("")
    for name in report.metrics:
        table.add_column(name, justify="right")
    table.add_row("[bold]head", *(f"{value:.4f}" for value in report.metrics.values()))
    for name, metrics in report.baselines.items():
        table.add_row(name, *(f"{metrics[metric]:.4f}" for metric in report.metrics))
    console.print(table)
    for name, gain in report.gains.items():
        console.print(
            f"{report.main}, better than {name} by {gain['gain']:+.4f} ({gain['low']:+.4f} to {gain['high']:+.4f})",
            highlight=False,
        )
    if "classes" in report.detail:
        _show_classes(console, report.detail)
    if out is not None:
        console.print(f"Head {head.version} in {out}", highlight=False)


def _show_classes(console: Console, detail: dict[str, Any]) -> None:
    table = Table(title="Classification report")
    table.add_column("")
    for name in ("precision", "recall", "f1-score", "support"):
        table.add_column(name, justify="right")
    labels = sorted(detail["labels"], key=lambda label: -detail["classes"][label]["support"])
    named = [*labels[:CLASSES_SHOWN], "macro avg", "weighted avg"]
    for label in named:
        row = detail["classes"][label]
        figures = [f"{row[name]:.3f}" for name in ("precision", "recall", "f1-score")]
        table.add_row(label, *figures, f"{row['support']:.0f}", end_section=label == named[-3])
    console.print(table)
    if len(labels) > CLASSES_SHOWN:
        console.print(f"and {len(labels) - CLASSES_SHOWN} classes more: --json has them all")
    if len(labels) > CONFUSION_SHOWN:
        return
    crossed = Table(title="Confusion (rows: true, columns: said)")
    crossed.add_column("")
    for label in detail["labels"]:
        crossed.add_column(label, justify="right")
    for label, row in zip(detail["labels"], detail["confusion"], strict=True):
        crossed.add_row(label, *map(str, row))
    console.print(crossed)


@contextmanager
def _bars(console: Console) -> Iterator[Note]:
    """A bar for each stage where `console` is a terminal; elsewhere nothing."""
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def note(name: str, done: int, total: int) -> None:
            if name not in tasks or done == 0:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done)

        yield note

"""`beforehand tune-text`: the text encoder made to know a shop's own texts and visitors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from encoders.errors import EncoderError
from encoders.finetune import (
    Pair,
    TunedText,
    TuneSettings,
    fact_pairs,
    next_item_pairs,
    query_pairs,
    sampled,
    tune_text,
)
from encoders.graph.facts import group_by_head, table_facts
from streaming.commands.options import Json, moment
from streaming.commands.shop import stage_bars
from streaming.errors import InputError
from streaming.provenance import machine, versions
from streaming.settings import EncoderSettings, Settings
from streaming.shop import ShopFolder
from streaming.text_encoder import text_encoder
from streaming.text_window import TextWindow, compared, text_window

FACT_SHARE = 0.2
"""Of the pairs, those that facts give at most: visitors tell more."""


def tune_texts(
    shop: Annotated[Path, typer.Argument(help="A shop folder, best one that `beforehand import` wrote.")],
    adapter: Annotated[Path, typer.Argument(help="The adapter folder to write.")],
    pairs: Annotated[
        int, typer.Option(min=100, help="Pairs of texts to learn from, drawn by the seed; 0.04 CPU seconds each.")
    ] = 20_000,
    epochs: Annotated[int, typer.Option(min=1, help="Times that each is seen.")] = 1,
    masked: Annotated[
        int, typer.Option("--mlm", min=0, help="Times to read the catalogue with words masked first.")
    ] = 0,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Look at events before it only: 2017-11-01, or ms. UTC.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    budget: Annotated[
        float | None, typer.Option(metavar="MINUTES", min=0, help="Stop training after so long.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of sample, batches and first weights.")] = 0,
    log_dir: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write TensorBoard's logs.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Tune the text encoder on a shop's catalogue and log.

    Learns from what visitors looked at in turn, what they searched for and facts, of the training window alone, and
    measures on what came after it. Set BEFOREHAND_ENCODER__ADAPTER to the folder, and build the model anew, where that
    says that it helps. Stopped, it goes on from where it was when it is asked again.
    """
    settings = Settings.from_environment()
    base = settings.model_copy(update={"encoder": EncoderSettings(**_without_adapter(settings.encoder))})
    if base.encoder.model == "dummy":
        raise InputError("BEFOREHAND_ENCODER__MODEL 'dummy' learns nothing, expected a BERT; name one or unset it")
    folder = ShopFolder(shop)
    events, items, facts = (folder.table(name)[0] for name in ("events", "items", "facts"))
    window = text_window(events, items, folder.info, until=moment(until, "--until"))
    its = TuneSettings(epochs=epochs, masked_epochs=masked, seed=seed)
    with stage_bars(Console(stderr=True, highlight=False)) as note:
        try:
            tuned = tune_text(
                window.texts,
                pairs_of(window, table_facts(facts), pairs, seed),
                base=base.encoder.model,
                out=adapter,
                settings=its,
                device=device,
                budget_s=None if budget is None else budget * 60,
                note=note,
                log_dir=log_dir,
            )
        except EncoderError as exc:
            raise InputError(str(exc)) from exc
    report = measured(window, tuned, base)
    if as_json:
        print(json.dumps(report))
    else:
        _show(report, adapter)


def pairs_of(window: TextWindow, facts: Any, count: int, seed: int) -> list[Pair]:
    """At most so many pairs of a window: searches first, facts for `FACT_SHARE`, steps of visitors for the rest.

    Args:
        facts: of items, from elsewhere than visitors.
    """
    asked = sampled(query_pairs(window.events, window.texts), count // 2, seed)
    told = sampled(fact_pairs(group_by_head(facts), window.texts), int(count * FACT_SHARE), seed)
    steps = sampled(next_item_pairs(window.events, window.texts), count - len(asked) - len(told), seed)
    return [*steps, *asked, *told]


def measured(window: TextWindow, tuned: TunedText, base: Settings) -> dict[str, Any]:
    """Held-out pairs and the validation's moments, before and after, as `--json` tells them."""
    texts = list(window.texts.values())
    values = []
    for adapter in (None, tuned.folder):
        with text_encoder(base, adapter) as encoder:
            values.append(window.values(encoder.encode(texts)))
    held = compared_pairs(tuned)
    ranking = compared(values[0], values[1])
    return {
        "adapter": str(tuned.folder),
        "digest": tuned.manifest.digest,
        **tuned.metrics,
        "held_out_pairs": held,
        "n": len(values[0]),
        "ranking": {name: ranking[name] for name in ("hr_10", "ndcg_10")},
        "helps": ranking["ndcg_10"]["interval"][0] > 0,
        "versions": versions(),
        "machine": machine(),
    }


def compared_pairs(tuned: TunedText) -> dict[str, Any]:
    """Accuracy and recall at 10 of the held-out pairs, with paired intervals."""
    ranks = [
        np.stack([its <= 1, its <= 10], axis=1).astype(np.float64) for its in (tuned.ranks_before, tuned.ranks_after)
    ]
    return compared(ranks[0], ranks[1], names=("accuracy", "recall_10"))


def _without_adapter(encoder: EncoderSettings) -> dict[str, Any]:
    return {name: value for name, value in encoder.model_dump().items() if name != "adapter"}


def _show(report: dict[str, Any], adapter: Path) -> None:
    console = Console(highlight=False)
    table = Table("", "before", "after", "difference, 95 %", box=None, pad_edge=False)
    for group in ("held_out_pairs", "ranking"):
        for name, told in report[group].items():
            low, high = told["interval"]
            table.add_row(name, f"{told['before']:.4f}", f"{told['after']:.4f}", f"{low:+.4f} to {high:+.4f}")
    console.print(table)
    advice = (
        f"It helps: set BEFOREHAND_ENCODER__ADAPTER={adapter} and build the model anew."
        if report["helps"]
        else "It is not shown to help: the interval of ndcg_10 is not above 0; leave it out."
    )
    told = f"{adapter} is written after {report['steps']:,.0f} steps in {report['tune_s']:,.0f} s."
    console.print(f"{told} {advice}", markup=False, soft_wrap=True)

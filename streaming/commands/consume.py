"""`beforehand consume`: predictions as they come."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Annotated

import typer
from rich.console import Console

from streaming import codec, topics
from streaming.codec import DecodeError
from streaming.commands.options import Brokers, Json, settings_for
from streaming.commands.text import moment, short
from streaming.consumer import Clock, PredictionConsumer
from streaming.records import Item, Prediction, Suppressed
from streaming.settings import Settings
from streaming.tail import Start, tail

logger = logging.getLogger(__name__)


def consume(
    suppressed: Annotated[
        bool, typer.Option("--suppressed", help="Instead, what was held back and by which rule.")
    ] = False,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="Begin with what is there already.")] = False,
    clock: Annotated[
        Clock,
        typer.Option(help="What expiry is judged by: this machine's clock, or the newest event time seen."),
    ] = "wall",
    offers: Annotated[int, typer.Option(min=1, help="Items to show of each prediction.")] = 3,
    limit: Annotated[int | None, typer.Option(min=1, help="End after so many.", show_default=False)] = None,
    idle_s: Annotated[
        float | None, typer.Option(min=0.1, help="End after so many seconds without one.", show_default=False)
    ] = None,
    titles: Annotated[bool, typer.Option(help="Show items by the titles that `catalogue` has, not by id.")] = True,
    brokers: Brokers = None,
    as_json: Json = False,
) -> None:
    """Print predictions as they come, until Ctrl-C.

    Shown is what a visitor should see now: no repeats, nothing expired, nothing withdrawn. For a replay of the
    past give --clock record. With --json one object a line, with the fields of the wire.
    """
    settings = settings_for(brokers)
    start: Start = "beginning" if from_beginning else "end"
    say = Console(highlight=False, markup=False, soft_wrap=True)
    names = _titles(settings) if titles and not as_json else {}
    with PredictionConsumer(settings, start=start, clock=clock, idle_s=idle_s) as predictions:
        found: Iterable[Prediction | Suppressed] = _held_back(settings, start, idle_s) if suppressed else predictions
        for record in islice(found, limit):
            if as_json:
                print(json.dumps(codec.plain(record)), flush=True)
            elif isinstance(record, Suppressed):
                say.print(f"held back by {record.rule}: {record.detail}")
                say.print(readable(record.prediction, offers, names))
            else:
                say.print(readable(record, offers, names))


def readable(prediction: Prediction, offers: int, titles: Mapping[str, str]) -> str:
    """A prediction in a few lines: when, for whom and why now; then an item a line with its score and its reason."""
    head = f"{moment(prediction.event_time)}  {short(prediction.session_id)}  {prediction.trigger}"
    if prediction.level != "full":
        head += f"  ({prediction.level})"
    if not prediction.items:
        return f"{head}\n            nothing to show any more"
    whys = [offer.reasons[0].sentence if offer.reasons else "" for offer in prediction.items[:offers]]
    lines = [
        f"    {offer.score:6.1%}  {titles.get(offer.item_id, offer.item_id)}  {why}".rstrip()
        for offer, why in zip(prediction.items, whys, strict=False)
    ]
    left = len(prediction.items) - offers
    return "\n".join([head, *lines, *([f"            and {left} more"] if left > 0 else [])])


def _held_back(settings: Settings, start: Start, idle_s: float | None) -> Iterator[Suppressed]:
    name = settings.topics.prefix + topics.SUPPRESSED.name
    for record in tail(settings, [name], start=start, follow=True, idle_s=idle_s or float("inf")):
        try:
            yield codec.decode(record.value, Suppressed)
        except DecodeError as exc:
            logger.warning("skipped %s[%d]@%d: %s", record.topic, record.partition, record.offset, exc)


def _titles(settings: Settings) -> dict[str, str]:
    found: dict[str, str] = {}
    for record in tail(settings, [settings.topics.prefix + topics.CATALOGUE.name]):
        try:
            item = codec.decode(record.value, Item)
        except DecodeError:  # removed, or never an item: its id is shown
            continue
        found[item.item_id] = item.title
    return found

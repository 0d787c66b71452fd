"""`beforehand train`: a model folder from a shop folder, with all that can be learned from its past."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from encoders.sequence.settings import SequenceSettings
from encoders.sequence.training import device_of
from index.forest_fitting import ForestSettings
from streaming import memory
from streaming.building import build_model
from streaming.commands.options import Json, moment
from streaming.commands.shop import GraphChoice, RelationsChoice, read_tables, stage_bars, tell_build
from streaming.errors import InputError
from streaming.learning import Training
from streaming.past import past_of, table_settings
from streaming.settings import Settings
from streaming.shop import ShopFolder
from streaming.text_encoder import text_encoder
from streaming.training_log import write_log

TRAINED_MOMENTS = 24_000
"""Moments that weights, forest and calibration are chosen on, at most."""
SHARE = 0.4
"""Of the budget that each of the network's two trainings may take, on average; the rest is for tables, weights and
forest."""


class Device(StrEnum):
    """Where networks are trained."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Teacher(StrEnum):
    """What the session network learns from besides what came."""

    NONE = "none"
    BERT = "bert"


class NetworkChoice(StrEnum):
    """What turns a session to what may come next."""

    GRU = "gru"
    BERT = "bert"
    TEXT = "text"


class JointChoice(StrEnum):
    """Whether text and facts are trained along with the clicks."""

    NO = "no"
    YES = "yes"
    CHOOSE = "choose"


def train(
    shop: Annotated[Path, typer.Argument(help="The shop folder to learn from.")],
    model: Annotated[Path, typer.Argument(help="Where the model folder is to be; one that is there is replaced.")],
    budget: Annotated[
        float, typer.Option(min=0.1, metavar="MINUTES", help="After about so much processor time training stops.")
    ] = 20.0,
    device: Annotated[Device, typer.Option(help="auto: a GPU where there is one.")] = Device.AUTO,
    network: Annotated[
        NetworkChoice,
        typer.Option(
            help="gru: over the items' vectors, served without torch; bert: likewise, in torch, best on a GPU; text:"
            " the text encoder over the titles of the last items, 40 to 80 ms an event on a CPU."
        ),
    ] = NetworkChoice.GRU,
    teacher: Annotated[
        Teacher,
        typer.Option(help="bert: a causal BERT over the session's item vectors is trained first and distilled."),
    ] = Teacher.NONE,
    joint: Annotated[
        JointChoice,
        typer.Option(
            help="yes: the network's items are trained on texts and facts along with the clicks, one loss of three"
            " terms; choose: both ways, and so where an interval of the gain in NDCG@10 on sessions set aside lies"
            " above 0."
        ),
    ] = JointChoice.NO,
    text_weight: Annotated[float, typer.Option(min=0, help="Of the text's term, with --joint; 0: off.")] = 0.1,
    graph_weight: Annotated[float, typer.Option(min=0, help="Of the facts' term, with --joint; 0: off.")] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="Of everything that draws numbers.")] = 0,
    relations: Annotated[RelationsChoice, typer.Option(help="As `beforehand build`.")] = RelationsChoice.SAFE,
    graph: Annotated[GraphChoice, typer.Option(help="As `beforehand build`.")] = GraphChoice.AUTO,
    new_items: Annotated[
        float,
        typer.Option(
            min=0,
            max=0.5,
            help="Share of NDCG@10, on sessions set aside, that may be given up so that items that nobody has had are"
            " offered more. Nothing is where none of them came.",
        ),
    ] = 0.025,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="As `beforehand build`.", show_default=False)
    ] = None,
    checkpoints: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Leave there where training stands, and go on from it.", show_default=False
        ),
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option("--log", metavar="FOLDER", help="Write the training curves for TensorBoard.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a model on a shop's past, and write its folder.

    What `beforehand build` does, and besides: a network of what comes next in a session (--network), stopped where
    sessions set aside gain no more, and a forest that ranks the best candidates once more (LambdaRank). Both learn on
    what is before the part on which weights and calibration are chosen, and then on everything.
    """
    memory.keep_what_is_freed()
    settings = Settings.from_environment()
    folder = ShopFolder(shop)
    say = Console(stderr=True, highlight=False)
    events, items, facts = read_tables(folder, say)
    if teacher is not Teacher.NONE and network is not NetworkChoice.GRU:
        raise InputError(f"--teacher {teacher.value} with --network {network.value}, expected gru; leave one away")
    sequence = SequenceSettings(
        network=network.value,
        joint=joint.value,
        text_weight=text_weight,
        graph_weight=graph_weight,
        teacher=teacher.value,
        seed=seed,
        budget_s=budget * 60 * SHARE / _trainings(teacher, joint),
    )
    with text_encoder(settings) as texts, stage_bars(say) as note:
        before = moment(until, "--until")
        past = past_of(events, items, facts, folder.info, texts, until=before, note=note)
        written, built = build_model(
            past,
            model,
            texts,
            settings=table_settings(folder.info, relations.value, graph.value, sequence),
            forest=ForestSettings(seed=seed, given_up=new_items),
            training=Training(device_of(device.value), checkpoints),
            until=before,
            moments=TRAINED_MOMENTS,
            note=note,
            adapter=settings.encoder.adapter,
        )
    if log is not None:
        write_log(log, written.curves)
    if as_json:
        print(json.dumps(built.as_json()))
    else:
        tell_build(built)


def _trainings(teacher: Teacher, joint: JointChoice) -> float:
    """How many networks are trained where one would be, over both times."""
    return (2 if teacher is Teacher.BERT else 1) * (1.5 if joint is JointChoice.CHOOSE else 1)

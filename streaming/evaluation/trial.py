"""One evaluation from end to end: a plan, a model's settings and a shop's past become a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from encoders.sequence.settings import Network as SessionNetwork
from encoders.text import TextEncoder
from index.forest_fitting import ForestSettings
from index.model import ModelFolder
from streaming.errors import InputError, LeakError
from streaming.evaluation.cold import cold_test
from streaming.evaluation.contest import contest
from streaming.evaluation.counting import alike_by_sessions
from streaming.evaluation.curves import of_model, of_networks
from streaming.evaluation.evaluation import Evaluation, Note, ask_all, measured
from streaming.evaluation.forecasts import coming, foretold, sessions_of
from streaming.evaluation.log import Log, refuse_leak, told
from streaming.evaluation.metrics import by_vectors
from streaming.evaluation.moments import Split
from streaming.evaluation.nearest_text import text_vectors
from streaming.evaluation.product import Workshop
from streaming.evaluation.protocols import cold, leave_one_out, next_item, temporal
from streaming.evaluation.report import TITLES, Report
from streaming.evaluation.shelf import NETWORKS, Network, Shelf
from streaming.learning import Training
from streaming.past import Past, data_digest, past_of

Networks = Literal["none", "kept", "all"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be measured."""

    protocol: str
    """leave-one-out, temporal or next-item."""
    repeats: bool | None = None
    """May an item of the history be the answer; None: as the shop says."""
    cold: bool = False
    """Once more with some items hidden."""
    variants: bool = True
    """The product less each of its channels, too."""
    as_built: bool = False
    """The folder's own tables, not ones learned anew."""
    recalibrate: bool = False
    """What is said of chances follows what came of it, as a worker's does with `recalibrate`; temporal only."""
    networks: Networks = "kept"
    """none; those that the shelf has; or all of them, trained where it has them not."""
    encoders: Sequence[SessionNetwork] = ()
    """The product with these session networks in place of its model's, too."""
    device: str = "cpu"
    """Where the product's networks are trained."""


def run(
    plan: Plan,
    model: ModelFolder,
    folder: Path,
    log: Log,
    encoder: TextEncoder,
    shelf: Shelf,
    note: Note = lambda _name, _done, _total: None,
) -> Report:
    """The report.

    Args:
        model: whose settings are used, and with `as_built` its tables.
        folder: where it lies.
        shelf: where trained baselines are kept.

    Raises:
        InputError: the shop does not suit the protocol.
        LeakError: something had learned what it is asked for.
    """
    split = split_of(plan, log)
    if plan.as_built:
        refuse_built_later(model, log, split)
    refuse_leak(split.part, split.target_rows)
    past = past_of(log.events, log.items, log.facts, log.info, encoder, note=note)
    if plan.as_built:
        refuse_other_data(model, past)
    vectors = text_vectors(past, log.catalogue) if log.info.titles else None
    alike = alike_by_sessions(split.part) if vectors is None else by_vectors(vectors)
    told = model.manifest.settings
    try:
        forest = None if told.get("forest") is None else ForestSettings(**told["forest"])
    except (TypeError, ValueError) as exc:
        raise InputError(f"model {model.version}: settings of a forest that are none ({exc}); train it anew") from exc
    product = Workshop(
        encoder,
        model.tables.settings,
        forest,
        told["moments"],
        past,
        Training(plan.device),
        plan.recalibrate,
        plan.protocol == "leave-one-out",
        folder if plan.as_built else None,
    )
    for network in plan.encoders:
        product.with_network(network)  # refused now, and not after an hour
    online = plan.protocol == "temporal"
    networks = _networks(plan, shelf, split, note)
    variants, encoders = plan.variants, plan.encoders
    entries = contest(product, vectors, networks, online=online, variants=variants, encoders=encoders)
    answers = ask_all(split, entries, note)
    thresholds = product.gate.thresholds
    found = None
    if plan.cold:
        hidden = cold(log)
        blind = leave_one_out(log, hidden)
        beside = _networks(plan, shelf, blind, note)
        entries = contest(product, vectors, beside, online=False, variants=variants, encoders=encoders)
        blindly = ask_all(blind, entries, note)
        both = {each.name for each in blindly}
        found = cold_test(hidden, [each for each in answers if each.name in both], blindly, blind)
    evaluation = measured(split, answers, alike)
    courses = [(each.name, each.course) for each in networks if each.course is not None]
    return Report(
        shop=log.info.name,
        model=model.version,
        data={
            "events": len(log),
            "items": len(log.catalogue),
            "sessions": len(np.unique(log.sessions)),
            "users": len(np.unique(log.users)),
            "learned": len(split.part.rows),
            "left_out": split.left_out,
            "repeats": split.repeats,
            "groups": "users" if plan.protocol == "leave-one-out" else "sessions",
            "recalibrated": plan.recalibrate and online,
            "diversity_by": "sessions" if vectors is None else "text",
        },
        evaluation=evaluation,
        forecasts=foretold(answers, coming(log, split), sessions_of(split), thresholds),
        cold=found,
        curves=[*of_model(folder), *of_networks(courses)],
        warnings=warnings_of(plan, evaluation, networks),
    )


def _networks(plan: Plan, shelf: Shelf, split: Split, note: Note) -> list[Network]:
    """The trained baselines that take part."""
    if plan.networks == "none":
        return []
    return shelf.rankers(split.part, train=plan.networks == "all", note=note)


def warnings_of(plan: Plan, found: Evaluation, networks: Sequence[Network]) -> list[str]:
    """What a reader has to know before the figures are believed."""
    told = []
    best, ours = found.best_baseline, found.product
    if best.means[found.primary] > ours.means[found.primary]:
        beside = next(each for each in found.comparisons if each.against == best.name)
        told.append(
            f"{best.name} ranks better than {ours.name}: {TITLES[found.primary]} {best.means[found.primary]:.4f}"
            f" against {ours.means[found.primary]:.4f} (difference {beside.low:+.4f} to {beside.high:+.4f})."
        )
    missing = sorted(NETWORKS.keys() - {each.name for each in networks})
    if missing:
        why = "left out" if plan.networks == "none" else "not trained on these events yet"
        told.append(f"{', '.join(missing)}: {why}. --baselines all trains what is missing.")
    told += [
        f"{each.name} was still getting better when its training ended, after {len(each.course.ranked)} epochs: it may"
        " rank better with more --minutes."
        for each in networks
        if each.course is not None and each.course.ended != "no better"
    ]
    return told


def split_of(plan: Plan, log: Log) -> Split:
    """The log, cut as the plan says.

    Raises:
        InputError: it cannot be cut so.
    """
    repeats = log.info.repeats_allowed if plan.repeats is None else plan.repeats
    if plan.cold and plan.protocol != "leave-one-out":
        raise InputError(f"--cold with --protocol {plan.protocol}, expected leave-one-out; leave one of the two away")
    if plan.cold and plan.as_built:
        raise InputError("--cold with --as-built: items cannot be hidden from tables that stand; leave one away")
    match plan.protocol:
        case "leave-one-out":
            return leave_one_out(log)
        case "next-item":
            return next_item(log, repeats, log.info.evaluate_last_only)
        case "temporal":
            if log.info.evaluate_last_only:
                raise InputError(
                    f"{log.info.name}: evaluate_last_only, so one visit makes several sessions and its end would be"
                    " learned before it is asked for; use --protocol next-item"
                )
            return temporal(log, repeats)
        case other:
            raise InputError(f"protocol {other!r}, expected leave-one-out, temporal or next-item")


def refuse_other_data(model: ModelFolder, past: Past) -> None:
    """Nothing, unless the folder's tables are of another shop, or of this one as it was.

    Raises:
        InputError: they are.
    """
    until = model.manifest.settings.get("until")
    seen = past.events if until is None else past.events.filter(pl.col("time") < until)
    found = data_digest(seen, past.items)
    if found != model.manifest.data:
        raise InputError(
            f"--as-built: the model was built of data {model.manifest.data}, expected {found} as this shop has; build"
            " it anew, or leave --as-built away, so that its settings alone are taken"
        )


def refuse_built_later(model: ModelFolder, log: Log, split: Split) -> None:
    """Nothing, unless the folder's tables may have seen a target: one that is not later than all they were built on.

    Raises:
        LeakError: they may; the first such target is named.
    """
    until = model.manifest.settings.get("until")
    early = split.target_rows if until is None else split.target_rows[split.target_times < until]
    if len(early):
        built = "all events" if until is None else f"events before {until} ms"
        raise LeakError(
            f"the model was built on {built}, among them {len(early):,} of {len(split):,} targets, expected none; the"
            f" first is the {told(log.events, int(early.min()))}; build it with --until, or leave --as-built away"
        )

"""An evaluation as a page: every ranker with its interval, where the product is good and where not, what each of its
channels is worth, and how far what it says of its chances can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

from streaming.evaluation.cold import ColdTest
from streaming.evaluation.curves import Curve
from streaming.evaluation.evaluation import Evaluation, Measured
from streaming.evaluation.forecasts import Forecasts
from streaming.evaluation.metrics import NAMES
from streaming.evaluation.report import SHOWN, TITLES, Report, figure, promise_told
from streaming.plots import bars, compared, differences, lines, picture
from streaming.provenance import machine, versions
from streaming.report_page import Page, Plot, Section, Table

FAMILIES = {"product": "the product", "variant": "the product, less something", "baseline": "baselines"}
_SECOND = {"ndcg_10": "hr_10", "mrr_20": "hr_20"}
"""The hit rate that goes with a primary metric."""
_BEST = (*NAMES, "coverage_20")
"""Metrics of which more is better."""
_DRAWN = 4
"""Baselines at most whose precision is drawn against coverage."""


def page_of(reports: Sequence[Report]) -> Page:
    """The page: a part for each protocol. Equal reports give equal bytes."""
    first, several = reports[0], len(reports) > 1
    sections = []
    for report in reports:
        before = f"{report.evaluation.protocol}: " if several else ""
        sections += [section for section in _sections(report, before) if section.tables or section.plots]
    sections.append(_training(first.curves))
    return Page(
        title=f"{first.shop}: {', '.join(report.evaluation.protocol for report in reports)}",
        subtitle="; ".join(_asked(report, several) for report in reports)
        + f"; all {first.data['items']:,} items ranked",
        figures=_figures(first),
        warnings=list(dict.fromkeys(warning for report in reports for warning in report.warnings)),
        sections=[section for section in sections if section.tables or section.plots],
        footer=f"Model {first.model}. "
        + ", ".join(f"{name} {told}" for name, told in versions().items())
        + ".\n"
        + ", ".join(f"{name}: {told}" for name, told in machine().items()),
    )


def picture_of(report: Report, form: str) -> bytes:
    """The product among its baselines, whoever is best first, with intervals: a picture by itself, svg or png."""
    found = report.evaluation
    shown = sorted([found.product, *_baselines(found)], key=lambda line: -line.means[found.primary])
    panels = {
        TITLES[metric]: (
            {line.name: line.means[metric] for line in shown},
            {line.name: line.intervals[metric] for line in shown},
        )
        for metric in (found.primary, _SECOND[found.primary])
    }
    return picture(
        panels,
        ours=found.product.name,
        title=f"{report.shop}, {found.protocol}",
        subtitle=f"{found.n:,} questions, all {report.data['items']:,} items ranked; lines are 95 % intervals",
        form=cast(Literal["svg", "png"], form),
    )


def _baselines(found: Evaluation) -> list[Measured]:
    """Each once: as it learns, where it does."""
    return [line for line in found.lines if line.family == "baseline" and not line.name.endswith(", frozen")]


def _asked(report: Report, several: bool) -> str:
    found, data = report.evaluation, report.data
    return (
        (f"{found.protocol}: " if several else "")
        + f"{found.n:,} questions of {found.groups:,} {data['groups']}, learned from {data['learned']:,} of"
        f" {data['events']:,} events, items of the history {'may' if data['repeats'] else 'may not'} be the answer"
    )


def _sections(report: Report, before: str) -> list[Section]:
    """The parts of one protocol; those without anything to show are left out by the caller."""
    found, data = report.evaluation, report.data
    sections = [
        Section(
            f"{before}All rankers",
            "Bars end at the mean over all questions; lines are 95 % intervals, from 2,000 draws of whole"
            f" {data['groups']}, the same for every ranker. The best figure of each column stands out, whoever has it.",
            tables=[_rankers(found)],
            plots=[_plot(found, metric) for metric in (found.primary, _SECOND[found.primary])],
        ),
        Section(
            f"{before}How far it is ahead",
            f"By {TITLES[found.primary]}, paired: both were asked the same. p is corrected for all these comparisons by"
            " Holm's method.",
            tables=[_comparisons(found)],
        ),
        Section(
            f"{before}What each channel is worth",
            f"What {found.product.name} loses in {TITLES[found.primary]} where one part of its score weighs nothing,"
            " the others being as they were; and what it is ahead of itself with other items' facts, or frozen. 95 %"
            " intervals of the paired difference; grey where it may be 0.",
            plots=_channels(found),
        ),
        Section(
            f"{before}Where it is good, and where not",
            f"{TITLES[found.primary]} of {found.product.name} and of {found.best_baseline.name}, the best baseline, by"
            " what was known and by what came. Numbers below the bars count questions.",
            plots=[_slice(found, name) for name in found.sizes],
        ),
    ]
    if report.forecasts is not None:
        sections.append(_chances(report.forecasts, found, before))
    if report.cold is not None:
        sections.append(_cold(report.cold, before))
    return sections


def _figures(report: Report) -> list[tuple[str, str]]:
    found = report.evaluation
    ours, best, second = found.product, found.best_baseline, _SECOND[found.primary]
    beside = next(each for each in found.comparisons if each.against == best.name)
    figures = [
        (TITLES[found.primary], figure(found.primary, ours.means[found.primary])),
        (TITLES[second], figure(second, ours.means[second])),
        (
            f"{TITLES[found.primary]} over {best.name} ({beside.low:+.4f} to {beside.high:+.4f})",
            f"{beside.difference:+.4f}",
        ),
        ("of the catalogue in some list of 20", f"{ours.means['coverage_20']:.0%}"),
    ]
    if report.forecasts is not None and report.forecasts.calibrated:
        of, each = list(report.forecasts.calibrated.items())[-1]
        figures.append((f"calibration error (ECE) of {of}", f"{each.ece:.3f}"))
    return figures


def _rankers(found: Evaluation) -> Table:
    rows = [(line.name, *(figure(metric, line.means[metric]) for metric in SHOWN)) for line in found.lines]
    best = [
        (row, column)
        for column, metric in enumerate(SHOWN, start=1)
        if metric in _BEST
        for row, line in enumerate(found.lines)
        if line.means[metric] == max(other.means[metric] for other in found.lines)
    ]
    return Table(("", *(TITLES[metric] for metric in SHOWN)), rows, best=best, marked=[0])


def _comparisons(found: Evaluation) -> Table:
    rows = [
        (each.against, f"{each.difference:+.4f}", f"{each.low:+.4f} to {each.high:+.4f}", f"{each.p_holm:.3f}")
        for each in found.comparisons
    ]
    return Table((f"{found.product.name} less", TITLES[found.primary], "95 %", "p, corrected"), rows)


def _plot(found: Evaluation, metric: str) -> Plot:
    return Plot(
        compared(
            {line.name: line.means[metric] for line in found.lines},
            {line.name: line.intervals[metric] for line in found.lines},
            xlabel=TITLES[metric],
            families={line.name: FAMILIES[line.family] for line in found.lines},
        )
    )


def _channels(found: Evaluation) -> list[Plot]:
    variants = {line.name for line in found.lines if line.family == "variant"}
    lost = [each for each in found.comparisons if each.against in variants]
    if not lost:
        return []
    drawn = differences(
        {each.against: each.difference for each in lost},
        {each.against: (each.low, each.high) for each in lost},
        xlabel=f"{TITLES[found.primary]} lost",
    )
    return [Plot(drawn)]


def _slice(found: Evaluation, name: str) -> Plot:
    labels = list(found.sizes[name])
    pair = (found.product, found.best_baseline)
    return Plot(
        bars(
            [f"{label}\n{found.sizes[name][label]:,}" for label in labels],
            {line.name: [line.by_slice[name][label][found.primary] for label in labels] for line in pair},
            ylabel=TITLES[found.primary],
            intervals={line.name: [line.slice_intervals[name][label] for label in labels] for line in pair},
        ),
        name,
    )


def _chances(told: Forecasts, found: Evaluation, before: str) -> Section:
    tables, plots = [], []
    if told.calibrated:
        rows = [
            (name, f"{each.n:,}", *(f"{value:.4f}" for value in (each.rate, each.ece, each.brier, each.auc)))
            for name, each in told.calibrated.items()
        ]
        caption = "" if told.promise is None else promise_told(told.promise).capitalize()
        tables.append(Table(("probability of", "n", "came", "ECE", "Brier", "AUC"), rows, caption))
        curves = {
            f"{name}, ECE {each.ece:.3f}": (
                [one.probability for one in each.bins],
                [one.hit_rate for one in each.bins],
            )
            for name, each in told.calibrated.items()
        }
        reliability = lines(curves, xlabel="probability shown", ylabel="share that came", diagonal=True)
        plots.append(
            Plot(
                reliability,
                "Reliability, in parts of equal size; the dotted line is what a calibrated forecast follows.",
            )
        )
    best = sorted(_baselines(found), key=lambda line: -line.means[found.primary])[:_DRAWN]
    drawn = {
        name: told.curves[name] for name in (found.product.name, *(line.name for line in best)) if name in told.curves
    }
    level = None if told.promise is None else told.promise.asked
    precision = lines(
        {name: (shares.tolist(), precisions.tolist()) for name, (shares, precisions) in drawn.items()},
        xlabel="coverage: share of the moments at which it speaks",
        ylabel="precision of the first item",
        level=level,
    )
    plots.append(Plot(precision, "Each ranker speaks where the score of its first item is highest."))
    return Section(
        f"{before}What it says of its chances",
        "An item comes where it is among the next 5 events of the session, within half an hour. The threshold for the"
        " precision asked for is chosen on the sessions that began first and measured on the others.",
        tables=tables,
        plots=plots,
    )


def _training(curves: Sequence[Curve]) -> Section:
    """One picture a metric and its axis."""
    kinds = dict.fromkeys((curve.metric, curve.x_name) for curve in curves)
    plots = [
        Plot(
            lines(
                {curve.name: (curve.x, curve.y) for curve in curves if (curve.metric, curve.x_name) == kind},
                xlabel=kind[1],
                ylabel=kind[0],
            )
        )
        for kind in kinds
    ]
    return Section(
        "Training",
        "How what was trained went: the model, as its folder tells, and the networks that stand beside it.",
        plots=plots,
    )


def _cold(cold: ColdTest, before: str) -> Section:
    rows = [
        (
            name,
            f"{line.cold['hr_10']:.4f}",
            f"{line.cold['ndcg_10']:.4f}",
            f"{line.warm['hr_10']:.4f}",
            f"{line.warm_unhidden['hr_10']:.4f}",
            f"{line.warm_loss:+.2%}",
        )
        for name, line in cold.lines.items()
    ]
    return Section(
        f"{before}Items that nobody has had",
        f"{cold.hidden:,} items were hidden from training; {cold.n:,} questions have one of them for an answer, the"
        f" others are warm. The loss is the share of HR@10 at warm questions that hiding costs.",
        tables=[Table(("", "HR@10, cold", "NDCG@10, cold", "HR@10, warm", "warm, nothing hidden", "warm loss"), rows)],
    )

"""An evaluation as a page: every ranker with its interval, and where the product is good and where not."""

from __future__ import annotations

from streaming.evaluation.cold import ColdTest
from streaming.evaluation.evaluation import Evaluation
from streaming.evaluation.metrics import NAMES
from streaming.evaluation.report import SHOWN, TITLES, Report, figure
from streaming.plots import bars, compared
from streaming.provenance import machine, versions
from streaming.report_page import Page, Plot, Section, Table

FAMILIES = {"product": "the product", "variant": "the product, less something", "baseline": "baselines"}
_SECOND = {"ndcg_10": "hr_10", "mrr_20": "hr_20"}
"""The hit rate that goes with a primary metric."""


def page_of(report: Report) -> Page:
    """The page. Equal reports give equal bytes."""
    found, data = report.evaluation, report.data
    sections = [
        Section(
            "All rankers",
            "Bars end at the mean over all questions; lines are 95 % intervals, from 2,000 draws of whole"
            f" {data['groups']}, the same for every ranker. The best figure of each kind stands out.",
            tables=[_rankers(found)],
            plots=[_plot(found, metric) for metric in (found.primary, _SECOND[found.primary])],
        ),
        Section(
            "How far it is ahead",
            f"By {TITLES[found.primary]}, paired: both were asked the same. p is corrected for all these comparisons by"
            " Holm's method.",
            tables=[_comparisons(found)],
        ),
        Section(
            "Where it is good, and where not",
            f"{TITLES[found.primary]} of {found.product.name} and of {found.best_baseline.name}, the best baseline, by"
            " what was known and by what came. Numbers below the bars count questions.",
            plots=[_slice(found, name) for name in found.sizes],
        ),
    ]
    if report.cold is not None:
        sections.append(_cold(report.cold))
    return Page(
        title=f"{report.shop}: {found.protocol}",
        subtitle=f"{found.n:,} questions of {found.groups:,} {data['groups']}; learned from {data['learned']:,} of"
        f" {data['events']:,} events; all {data['items']:,} items ranked, those of the history"
        f" {'too' if data['repeats'] else 'not'}",
        figures=_figures(found),
        sections=sections,
        footer=f"Model {report.model}. "
        + ", ".join(f"{name} {told}" for name, told in versions().items())
        + ".\n"
        + ", ".join(f"{name}: {told}" for name, told in machine().items()),
    )


def _figures(found: Evaluation) -> list[tuple[str, str]]:
    ours, best, second = found.product, found.best_baseline, _SECOND[found.primary]
    beside = next(each for each in found.comparisons if each.against == best.name)
    return [
        (TITLES[found.primary], figure(found.primary, ours.means[found.primary])),
        (TITLES[second], figure(second, ours.means[second])),
        (
            f"{TITLES[found.primary]} over {best.name} ({beside.low:+.4f} to {beside.high:+.4f})",
            f"{beside.difference:+.4f}",
        ),
        ("of the catalogue in some list of 20", f"{ours.means['coverage_20']:.0%}"),
    ]


def _rankers(found: Evaluation) -> Table:
    rows = [(line.name, *(figure(metric, line.means[metric]) for metric in SHOWN)) for line in found.lines]
    best = [
        (max(range(len(rows)), key=lambda row: found.lines[row].means[metric]), column)
        for column, metric in enumerate(NAMES, start=1)
    ]
    return Table(("", *(TITLES[metric] for metric in SHOWN)), rows, best=best)


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


def _cold(cold: ColdTest) -> Section:
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
        "Items that nobody has had",
        f"{cold.hidden:,} items were hidden from training; {cold.n:,} questions have one of them for an answer, the"
        f" others are warm. The loss is the share of HR@10 at warm questions that hiding costs.",
        tables=[Table(("", "HR@10, cold", "NDCG@10, cold", "HR@10, warm", "warm, nothing hidden", "warm loss"), rows)],
    )

"""A backtest as an HTML page."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from index.calibrating import reliability
from streaming import plots
from streaming.backtest_report import METRICS, TITLES, Report, course, tables
from streaming.engine import STAGES
from streaming.report_page import Page, Plot, Section
from streaming.report_page import Table as PageTable

_SHARES = np.linspace(0, 1, 101)


def page_of(report: Report) -> str:
    """The page, whole."""
    told, took = report.quality_json(), report.timings_json()
    ranked, sent, held, costs = (PageTable([title, *columns], rows) for title, columns, rows in tables(told, took))
    metrics, popular = told["rankings"]["metrics"], told["rankings"]["popularity"]
    figures = [
        ("HR@10 of rankings", f"{metrics['hr_10']:.3f}"),
        ("popularity's", f"{popular['hr_10']:.3f}"),
        ("predictions sent", f"{told['sent']['predictions']:,}"),
        ("of them hit", f"{told['sent']['hit_rate']:.3f}"),
        ("popularity's", f"{told['sent']['hit_rate_popularity']:.3f}"),
    ]
    if took["cpu_us_per_event"] is not None:
        figures.append(("CPU an event", f"{took['cpu_us_per_event']:,.0f} us"))
    seen = "" if told["first_time"] is None else f", {_day(told['first_time'])} to {_day(told['last_time'])}"
    return Page(
        title=f"Backtest of {told['shop']}",
        subtitle=f"model {told['model']}; {told['events']:,} events of {told['sessions']:,} sessions{seen}; "
        f"{told['items']:,} items; {'learned as events came' if told['learn'] else 'frozen'}",
        figures=figures,
        warnings=report.warnings,
        sections=[
            Section(
                "Rankings",
                "Every event's ranking before the throttle, held against the next item of the same session. Popularity "
                "is asked at the same moments. Intervals draw whole sessions.",
                [ranked],
                _ranking_plots(report),
            ),
            Section(
                "What was sent",
                "A prediction is a hit if any of its items is viewed, clicked, put into the cart or bought within the "
                "next 5 events of the session, before it expires; precision is the share of items. Predictions that "
                "had not expired when the log ended are left out.",
                [sent],
                _sent_plots(report),
            ),
            Section("Held back and silent", "", [held], _held_plots(report)),
            Section("Costs", "Of this machine and this run.", [costs], _cost_plots(report)),
        ],
        footer=f"{took['machine']['processor']}, {took['machine']['cores']} cores\n"
        + ", ".join(f"{name} {version}" for name, version in took["versions"].items()),
    ).html()


def _day(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d")


def _ranking_plots(report: Report) -> list[Plot]:
    told = report.quality_json()["rankings"]
    if not told["n"]:
        return []
    ours, theirs = ([told[name][metric] for metric in METRICS] for name in ("metrics", "popularity"))
    heights = plots.bars(
        [TITLES[metric] for metric in METRICS],
        {"ours": ours, "popularity": theirs},
        ylabel="mean over moments",
        intervals={"ours": [tuple(told["intervals"][metric]) for metric in METRICS]},
    )
    events, hits, popular = course(report.quality)
    over_time = plots.lines({"ours": (events, hits), "popularity": (events, popular)}, xlabel="events", ylabel="HR@20")
    return [Plot(heights, "Ours with 95 % intervals."), Plot(over_time, "As the log went by.")]


def _sent_plots(report: Report) -> list[Plot]:
    sent = report.quality.sent
    if not sent:
        return []
    by_trigger = report.quality_json()["sent"]["by_trigger"]
    found = [
        Plot(
            plots.bars(
                list(by_trigger),
                {
                    "hit": [line["hit_rate"] for line in by_trigger.values()],
                    "precision": [line["precision"] for line in by_trigger.values()],
                },
                ylabel="share",
            ),
            "By trigger.",
        )
    ]
    leads = np.array([one.lead_ms / 1000 for one in sent if one.lead_ms], np.float64)
    if len(leads):
        seconds = np.quantile(leads, _SHARES).tolist()
        shown = plots.lines({"": (seconds, _SHARES.tolist())}, xlabel="seconds", ylabel="share", log_x=True)
        found.append(Plot(shown, "From a prediction to the first event on one of its items."))
    scores, taken = report.quality.scores()
    bins = reliability(scores, taken)
    curve = ([each.probability for each in bins], [each.hit_rate for each in bins])
    said = plots.lines({"items": curve}, xlabel="score", ylabel="share taken up", diagonal=True)
    kind = "Scores are calibrated probabilities." if report.quality.calibrated else "Scores are not calibrated."
    return [*found, Plot(said, f"{kind} Points: items by score, in parts of equal size.")]


def _held_plots(report: Report) -> list[Plot]:
    told = report.quality_json()
    amounts = {f"sent: {trigger}": count for trigger, count in told["sent"]["predictions_by_trigger"].items()}
    amounts |= {f"held back: {rule}": count for rule, count in told["suppressed"].items()}
    amounts |= {f"silent: {reason}": count for reason, count in told["silent"].items()}
    return [Plot(plots.across(amounts, xlabel="decisions"), "What decisions came to.")] if amounts else []


def _cost_plots(report: Report) -> list[Plot]:
    stages = report.timings_json()["stages"]
    run = [stage for stage in STAGES if stages[stage]["p50_ms"] is not None]
    if not run:
        return []
    heights = {name: [stages[stage][f"{name}_ms"] for stage in run] for name in ("p50", "p99")}
    return [Plot(plots.bars(run, heights, ylabel="ms"), "Wall time of a step by stage.")]

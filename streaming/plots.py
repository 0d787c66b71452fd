"""Plots of a report, as SVG to stand in a page, or one picture by itself, SVG or PNG: no script, equal numbers give
equal bytes.

The one door to matplotlib.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "beforehand",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e5e7eb",
    "axes.edgecolor": "#9ca3af",
    "legend.frameon": False,
    "axes.prop_cycle": cycler(color=["#1d4ed8", "#9ca3af", "#b45309", "#047857", "#7c3aed", "#be123c"]),
}
_FAMILIES = ("#1d4ed8", "#93c5fd", "#9ca3af")
_WIDTH, _HEIGHT = 5.6, 2.9
"""Inches."""

_NUMBERED = 14
"""Bars at most that have their numbers beside them."""

Interval = tuple[float, float]


def bars(
    labels: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    ylabel: str,
    intervals: Mapping[str, Sequence[Interval]] | None = None,
) -> str:
    """Groups of bars, a group a label and a bar a series; beside it its number.

    Args:
        intervals: low and high of each bar of a series, drawn as a whisker.
    """
    with _drawing() as (axes, out):
        width = 0.8 / max(len(series), 1)
        for number, (name, heights) in enumerate(series.items()):
            middles = [place + (number - (len(series) - 1) / 2) * width for place in range(len(labels))]
            axes.bar(middles, heights, width * 0.92, label=name)
            tops = list(heights)
            if intervals is not None and name in intervals:
                low = [max(0.0, height - ends[0]) for height, ends in zip(heights, intervals[name], strict=True)]
                high = [max(0.0, ends[1] - height) for height, ends in zip(heights, intervals[name], strict=True)]
                axes.errorbar(middles, heights, [low, high], fmt="none", ecolor="#111827", elinewidth=1, capsize=2)
                tops = [height + above for height, above in zip(heights, high, strict=True)]
            if len(labels) * len(series) <= _NUMBERED:
                for middle, top, height in zip(middles, tops, heights, strict=True):
                    axes.annotate(
                        _number(height), (middle, top), (0, 2), textcoords="offset points", ha="center", fontsize=7
                    )
        axes.set_xticks(range(len(labels)), labels)
        axes.grid(False, axis="x")
        axes.margins(y=0.15)
        axes.set_ylabel(ylabel)
        if len(series) > 1:
            axes.figure.legend(fontsize=8, loc="outside upper left", ncols=3)
    return out.getvalue()


def across(amounts: Mapping[str, float], *, xlabel: str) -> str:
    """One bar a name, lying, in the order given, from above."""
    with _drawing(height=0.6 + 0.28 * max(len(amounts), 1)) as (axes, out):
        drawn = axes.barh(list(amounts), list(amounts.values()), 0.7)
        axes.bar_label(drawn, [f"{amount:,.0f}" for amount in amounts.values()], padding=3, fontsize=8)
        axes.invert_yaxis()
        axes.grid(False, axis="y")
        axes.margins(x=0.15)
        axes.set_xlabel(xlabel)
    return out.getvalue()


def compared(
    values: Mapping[str, float],
    intervals: Mapping[str, Interval],
    *,
    xlabel: str,
    families: Mapping[str, str],
) -> str:
    """One lying bar a name with its number and its interval, in the order given, from above; coloured by family.

    Args:
        families: of each name, three at most; they get colours in the order of their first name.
    """
    colours = dict(zip(dict.fromkeys(families.values()), _FAMILIES, strict=False))
    with _drawing(height=0.95 + 0.27 * len(values)) as (axes, out):
        places = {name: place for place, name in enumerate(values)}
        for family, colour in colours.items():
            own = [name for name in values if families[name] == family]
            axes.barh([places[name] for name in own], [values[name] for name in own], 0.7, color=colour, label=family)
        for name, (low, high) in intervals.items():
            axes.plot([low, high], [places[name]] * 2, color="#111827", linewidth=1)
            number = f"{values[name]:.4f}"
            axes.annotate(number, (high, places[name]), (4, 0), textcoords="offset points", va="center", fontsize=8)
        axes.set_yticks(range(len(values)), list(values))
        axes.invert_yaxis()
        axes.grid(False, axis="y")
        axes.set_xlim(0, 1.2 * max([1e-9, *(high for _, high in intervals.values())]))
        axes.set_xlabel(xlabel)
        axes.figure.legend(fontsize=8, loc="outside upper left", ncols=len(colours))
    return out.getvalue()


def differences(values: Mapping[str, float], intervals: Mapping[str, Interval], *, xlabel: str) -> str:
    """One dot a name with its interval, in the order given, from above; coloured where the interval leaves out 0."""
    with _drawing(height=0.8 + 0.27 * max(len(values), 1)) as (axes, out):
        axes.axvline(0, color="#111827", linewidth=1)
        for place, (name, value) in enumerate(values.items()):
            low, high = intervals[name]
            colour = "#9ca3af" if low <= 0 <= high else ("#1d4ed8" if low > 0 else "#be123c")
            axes.plot([low, high], [place, place], color=colour, linewidth=2, solid_capstyle="round")
            axes.plot([value], [place], marker="o", markersize=5, color=colour)
            axes.annotate(f"{value:+.4f}", (high, place), (6, 0), textcoords="offset points", va="center", fontsize=8)
        axes.set_yticks(range(len(values)), list(values))
        axes.set_ylim(len(values) - 0.5, -0.5)
        axes.grid(False, axis="y")
        axes.margins(x=0.18)
        axes.set_xlabel(xlabel)
    return out.getvalue()


def picture(
    panels: Mapping[str, tuple[Mapping[str, float], Mapping[str, Interval]]],
    *,
    ours: str,
    title: str,
    subtitle: str,
    form: Literal["svg", "png"] = "svg",
) -> bytes:
    """A picture that stands by itself: panels side by side, by what they measure; in each the same names from above,
    with a bar, an interval and a number each; `ours` is coloured.

    Args:
        panels: values and intervals of each.
    """
    names = list(next(iter(panels.values()))[0])
    with mpl.rc_context({**_STYLE, "font.size": 10}):
        figure = Figure(figsize=(4.4 * len(panels), 1.4 + 0.31 * len(names)), layout="constrained")
        high = figure.get_figheight()
        figure.suptitle(f"{title}\n\n", x=0.01, ha="left", fontsize=13, fontweight="bold")
        figure.text(0.01, 1 - 0.44 / high, subtitle, ha="left", va="center", color="#4b5563")
        for axes, (metric, (values, intervals)) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
        ):
            colours = [_FAMILIES[0] if name == ours else "#cbd5e1" for name in names]
            axes.barh(range(len(names)), [values[name] for name in names], 0.68, color=colours)
            for place, name in enumerate(names):
                low, high = intervals[name]
                axes.plot([low, high], [place, place], color="#111827", linewidth=1.2)
                axes.annotate(
                    _number(values[name], 4),
                    (high, place),
                    (5, 0),
                    textcoords="offset points",
                    va="center",
                    fontweight="bold" if name == ours else "normal",
                )
            first = axes.get_subplotspec().is_first_col()
            axes.set_yticks(range(len(names)), names if first else [""] * len(names))
            for label, name in zip(axes.get_yticklabels(), names, strict=True):
                label.set_fontweight("bold" if name == ours else "normal")
            axes.tick_params(axis="y", length=0)
            axes.set_ylim(len(names) - 0.5, -0.5)
            axes.grid(False, axis="y")
            axes.set_xlim(0, 1.22 * max([1e-9, *(high for _, high in intervals.values())]))
            axes.set_title(metric, loc="left", fontsize=10, color="#374151")
        out = io.BytesIO()
        figure.savefig(out, format=form, dpi=160, metadata={"Date": None} if form == "svg" else {"Software": None})
    return out.getvalue()


def lines(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    xlabel: str,
    ylabel: str,
    diagonal: bool = False,
    log_x: bool = False,
    level: float | None = None,
) -> str:
    """Curves, each by its xs and ys.

    Args:
        level: a dotted line across, at what is asked for.
        diagonal: a dotted line at y = x, which a calibrated forecast follows.
    """
    with _drawing() as (axes, out):
        for name, (xs, ys) in series.items():
            axes.plot(xs, ys, label=name, linewidth=1.6, marker="o" if len(xs) <= 20 else None, markersize=3)
        if diagonal:
            highest = max([0.05, *(value for xs, ys in series.values() for value in (*xs, *ys))])
            axes.plot([0, highest], [0, highest], linestyle=":", color="#6b7280", label="as said")
        if level is not None:
            axes.axhline(level, linestyle=":", color="#6b7280")
        if log_x:
            axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        if len(series) > 1 or diagonal:
            axes.figure.legend(fontsize=8, loc="outside upper left", ncols=3)
    return out.getvalue()


def lines_png(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, xlabel: str, ylabel: str, log_y: bool = False
) -> bytes:
    """Curves with their points, each by its xs and ys, as a PNG file."""
    out = io.BytesIO()
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(2 * _HEIGHT * 1.4, 2 * _HEIGHT * 0.8), layout="constrained", dpi=120)
        axes = figure.add_subplot()
        for name, (xs, ys) in series.items():
            axes.plot(xs, ys, label=name, linewidth=1.6, marker="o", markersize=4)
        if log_y:
            axes.set_yscale("log")
        axes.set_xlim(left=0)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.legend(fontsize=8)
        figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


@contextmanager
def _drawing(height: float = _HEIGHT) -> Iterator[tuple[Axes, io.StringIO]]:
    """Axes to draw on; the picture is in the text once the block has ended."""
    out = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        yield figure.add_subplot(), out
        picture = io.StringIO()
        figure.savefig(picture, format="svg", metadata={"Date": None})
    text = picture.getvalue()
    out.write(text[text.index("<svg") :])


def _number(value: float, digits: int = 3) -> str:
    """As short as a bar has room for."""
    return f"{value:.{digits}f}".removeprefix("0") if abs(value) < 10 else f"{value:,.0f}"

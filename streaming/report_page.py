"""A report as one HTML page that stands alone: tables, plots and text, no script and nothing loaded from elsewhere.

The one door to Jinja.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from jinja2 import Environment, StrictUndefined


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text; the first cell of each names it."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    best: Sequence[tuple[int, int]] = ()
    """Row and column of the cells that are to stand out."""
    marked: Sequence[int] = ()
    """Rows that the table is about."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture with what it shows."""

    svg: str
    """From `streaming.plots`; goes into the page as it is."""
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page under a heading of its own, from text to pictures."""

    title: str
    text: str = ""
    tables: Sequence[Table] = ()
    plots: Sequence[Plot] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A whole report."""

    title: str
    subtitle: str
    figures: Sequence[tuple[str, str]] = ()
    """The few that count: what, and how much. They stand on top."""
    warnings: Sequence[str] = ()
    """What makes figures worth less than they look."""
    sections: Sequence[Section] = field(default_factory=list)
    footer: str = ""

    def html(self) -> str:
        """The page. All text is escaped, pictures are not."""
        return _TEMPLATE.render(page=self)


_TEMPLATE = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
    """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ page.title }}</title>
<style>
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #111827; background: #fff; margin: 2rem auto; max-width: 74rem;
  padding: 0 1.5rem; }
h1 { font-size: 1.6rem; margin: 0; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .4rem; border-top: 1px solid #e5e7eb; padding-top: 1.2rem; }
p { max-width: 48rem; margin: .3rem 0 .8rem; }
.subtitle, footer, figcaption, caption { color: #4b5563; font-size: .86rem; }
.figures { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.4rem 0 .6rem; }
.figures div { border: 1px solid #e5e7eb; border-radius: 6px; padding: .5rem .9rem; min-width: 7rem; }
.figures b { display: block; font-size: 1.3rem; font-variant-numeric: tabular-nums; }
.figures span { color: #4b5563; font-size: .82rem; }
.warning { border-left: 4px solid #b45309; background: #fffbeb; padding: .5rem .9rem; margin: .6rem 0;
  max-width: 60rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .6rem 0 1rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .3rem; }
th, td { padding: .2rem .6rem .2rem .4rem; text-align: right; border-bottom: 1px solid #f3f4f6; white-space: nowrap; }
th { color: #4b5563; font-weight: 600; border-bottom: 1px solid #d1d5db; }
.best { font-weight: 700; }
.marked td { background: #eff6ff; }
th:first-child, td:first-child { text-align: left; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
figure { margin: .2rem 0; border: 1px solid #e5e7eb; border-radius: 8px; padding: .7rem .8rem .5rem; max-width: 100%;
  box-sizing: border-box; }
figcaption { max-width: 33rem; }
figure svg { max-width: 100%; height: auto; display: block; }
footer { margin: 2.5rem 0 1rem; border-top: 1px solid #e5e7eb; padding-top: .8rem; white-space: pre-line; }
</style>
</head>
<body>
<h1>{{ page.title }}</h1>
<div class="subtitle">{{ page.subtitle }}</div>
{% if page.figures %}
<div class="figures">
{% for name, amount in page.figures %}
<div><b>{{ amount }}</b><span>{{ name }}</span></div>
{% endfor %}
</div>
{% endif %}
{% for warning in page.warnings %}
<div class="warning">{{ warning }}</div>
{% endfor %}
{% for section in page.sections %}
<section>
<h2>{{ section.title }}</h2>
{% if section.text %}
<p>{{ section.text }}</p>
{% endif %}
{% for table in section.tables %}
<div class="wide"><table>
{% if table.caption %}
<caption>{{ table.caption }}</caption>
{% endif %}
<thead><tr>{% for column in table.columns %}<th>{{ column }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in table.rows %}
{% set number = loop.index0 %}
<tr{% if number in table.marked %} class="marked"{% endif %}>
{% for cell in row %}
<td{% if (number, loop.index0) in table.best %} class="best"{% endif %}>{{ cell }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody>
</table></div>
{% endfor %}
{% if section.plots %}
<div class="plots">
{% for plot in section.plots %}
<figure>{{ plot.svg | safe }}<figcaption>{{ plot.caption }}</figcaption></figure>
{% endfor %}
</div>
{% endif %}
</section>
{% endfor %}
<footer>{{ page.footer }}</footer>
</body>
</html>
"""
)

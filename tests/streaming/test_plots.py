from __future__ import annotations

from xml.etree import ElementTree

import pytest

from streaming import plots
from streaming.report_page import Page, Plot, Section, Table

PANELS = {
    "NDCG@10": ({"ours": 0.2, "<theirs>": 0.1}, {"ours": (0.1, 0.3), "<theirs>": (0.05, 0.15)}),
    "HR@10": ({"ours": 0.4, "<theirs>": 0.3}, {"ours": (0.3, 0.5), "<theirs>": (0.2, 0.4)}),
}
DRAWINGS = {
    "bars": lambda: plots.bars(
        ["HR@10", "<MRR>"],
        {"ours": [0.25, 12.0], "theirs": [0.1, 0.0]},
        ylabel="y",
        intervals={"ours": [(0.2, 0.3), (11, 13)]},
    ),
    "across": lambda: plots.across({"held back: quiet": 1234, "sent": 5}, xlabel="decisions"),
    "lines": lambda: plots.lines({"ours": ([0.1, 0.4], [0.2, 0.3])}, xlabel="x", ylabel="y", diagonal=True),
    "log": lambda: plots.lines({"": ([1, 10, 100], [0, 0.5, 1])}, xlabel="s", ylabel="share", log_x=True),
    "differences": lambda: plots.differences(
        {"without counts": 0.1, "frozen": 0.0}, {"without counts": (0.05, 0.15), "frozen": (-0.1, 0.1)}, xlabel="lost"
    ),
    "picture": lambda: plots.picture(PANELS, ours="ours", title="Shop", subtitle="of 5 & all").decode(),
    "nothing": lambda: plots.across({}, xlabel="decisions"),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_plot_is_an_svg_of_its_own_and_the_same_every_time(name: str) -> None:
    svg = DRAWINGS[name]()
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert svg == DRAWINGS[name]()


def test_numbers_and_names_are_text_in_it() -> None:
    texts = [text.text for text in ElementTree.fromstring(DRAWINGS["bars"]()).iter("{http://www.w3.org/2000/svg}text")]
    assert {"HR@10", "<MRR>", ".250", "12", "ours", "theirs"} <= set(texts)
    texts = [
        text.text for text in ElementTree.fromstring(DRAWINGS["across"]()).iter("{http://www.w3.org/2000/svg}text")
    ]
    assert {"1,234", "held back: quiet", "decisions"} <= set(texts)


def test_a_picture_by_itself_is_a_file_of_its_kind() -> None:
    svg = plots.picture(PANELS, ours="ours", title="Shop", subtitle="of 5").decode()
    texts = [text.text for text in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert {"Shop", "of 5", "ours", "<theirs>", "NDCG@10", "HR@10", ".2000", ".4000"} <= set(texts)
    png = plots.picture(PANELS, ours="ours", title="Shop", subtitle="of 5", form="png")
    assert png.startswith(b"\x89PNG")
    assert png == plots.picture(PANELS, ours="ours", title="Shop", subtitle="of 5", form="png")


def test_a_page_stands_alone_and_escapes_what_it_is_told() -> None:
    page = Page(
        title="Shop <b> & sons",
        subtitle="model m",
        figures=[("HR@10", ".250")],
        warnings=["seen <before>"],
        sections=[
            Section(
                "Rankings",
                "of & all",
                [Table(["", "ours"], [["HR@10", "1 < 2"]], "cap", [(0, 1)])],
                [Plot("<svg>x</svg>", "c")],
            )
        ],
        footer="8 cores",
    ).html()
    assert "Shop &lt;b&gt; &amp; sons" in page
    assert "seen &lt;before&gt;" in page
    assert '<td class="best">1 &lt; 2</td>' in page
    assert "<svg>x</svg>" in page
    assert not any(word in page for word in ("<script", "http://", "https://", "src="))

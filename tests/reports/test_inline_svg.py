"""Drawings inside the page: their colours are the page's, and their names their own."""

import itertools
import re

import pytest

from reports.figures.canvas import new_figure, paper_style, render
from reports.inline_svg import dark, inline, pairs
from reports.style import INK, ON_DARK, PAPER, looks


@pytest.fixture(scope="module")
def svg() -> bytes:
    with paper_style():
        figure = new_figure(2, 1)
        axes = figure.subplots()
        axes.plot([0, 1], color="#0c6ab6")
        axes.plot([1, 0], color="#147b4c")
        axes.text(0, 0, "</svg><script>alert(1)</script>", color=ON_DARK)
        return render(figure)["svg"]


def test_colours_become_those_of_the_theme(svg: bytes) -> None:
    text = str(inline(svg, "one", "a drawing", pairs(looks(["none", "mtr"]).values())))
    assert "stroke: var(--m1)" in text
    assert f"stroke: light-dark(#147b4c, {dark('#147b4c')})" in text
    assert "fill: var(--paper)" in text
    # Words on coloured cells keep their colour, of the page's own none is left.
    assert f"fill: {ON_DARK}" in text
    assert PAPER["light"] not in text
    assert INK["light"] not in text


def test_names_are_unique_and_nothing_foreign_comes_along(svg: bytes) -> None:
    text = str(inline(svg, "one", 'says "so"', {}))
    names = re.findall(r'id="([^"]*)"', text)
    assert names
    assert all(name.startswith("one__") for name in names)
    referred = re.findall(r'(?:href="#|url\(#)([^")]*)', text)
    assert referred
    assert set(referred) <= set(names)
    assert "script" not in text
    assert "<style" not in text
    assert 'aria-label="says &quot;so&quot;"' in text


def test_dark_counterparts_keep_their_rank() -> None:
    greys = [f"#{level:02x}{level:02x}{level:02x}" for level in range(0, 240, 24)]
    turned = [int(dark(grey)[1:3], 16) for grey in greys]
    # What stands out from a white page most stands out from a dark one most.
    assert all(one > other for one, other in itertools.pairwise(turned))

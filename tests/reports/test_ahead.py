"""The section on one method's lead over each other one: its figure, sentence and table."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import reports
from reports.figures.canvas import COLUMN, WIDTH
from reports.figures.lead import ahead_figure
from reports.sections import ahead
from reports.style import looks
from suite.stats.metric import TOP1
from suite.store.schema import TABLES

LABELS = ["mtr", "tome", "evit", "downsample"]


def rows() -> pd.DataFrame:
    """At 20 % ahead of both, at 40 % of one alone; a smaller image has no test."""
    made = []
    for budget, leads in ((0.2, (0.05, 0.03, -0.02)), (0.4, (0.04, -0.01, -0.03))):
        for label, lead in zip(LABELS[1:], leads, strict=True):
            row = {"backbone": "vim_nano", "budget": budget, "label": "mtr", "reference": label}
            row |= {"top1": 0.8, "other_top1": 0.8 - lead, "difference": lead, "images": 400}
            row |= {"difference_low": lead - 0.02, "difference_high": lead + 0.02}
            p = None if label == "downsample" else 0.001
            made.append(row | {"interval": "interval", "p": p})
    return pd.DataFrame(made, columns=list(TABLES["ahead"].columns)).astype({"p": "float64"})


def claims() -> pd.DataFrame:
    made = []
    for budget, best, lead, p in ((0.2, "evit", 0.03, 0.001), (0.4, "evit", -0.01, 1.0)):
        row = {"backbone": "vim_nano", "budget": budget, "label": "mtr", "reference": best}
        row |= {"difference": lead, "difference_low": lead - 0.02, "difference_high": lead + 0.02}
        row |= {"p": p, "p_holm": min(1.0, 2 * p), "comparisons": 2, "significant": p < 0.02}
        made.append(row | {"methods": 2, "images": 400})
    return pd.DataFrame(made, columns=list(TABLES["ahead_of_each"].columns))


@pytest.mark.parametrize("width", [WIDTH, COLUMN])
def test_marks_stand_where_the_leads_are_and_are_filled_where_shown(width: float) -> None:
    table = rows()
    figure = ahead_figure(table, looks(LABELS), "", TOP1, width)
    figure.draw_without_rendering()
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in panels] == [
        "−20 %, mtr: 80.0 %",
        "−40 %, mtr: 80.0 %",
    ]
    for axes, (_, part) in zip(panels, table.groupby("budget"), strict=True):
        names = [tick.get_text() for tick in panels[0].get_yticklabels()]
        assert names == [looks(LABELS)[label].title for label in LABELS[1:]]
        bars, points = axes.get_lines()[:-1:2], axes.get_lines()[1:-1:2]
        for place, (row, bar, point) in enumerate(
            zip(part.itertuples(), bars, points, strict=True)
        ):
            np.testing.assert_allclose(
                bar.get_xdata(), [100 * row.difference_low, 100 * row.difference_high]
            )
            np.testing.assert_allclose(point.get_xydata(), [[100 * row.difference, place]])
            shown = row.reference != "downsample" and row.difference > 0.02
            assert (point.get_markerfacecolor() != "white") == shown


@pytest.mark.usefixtures("undrawn")
def test_the_page_answers_whether_it_is_ahead(fresh: Callable[[], Path]) -> None:
    folder = fresh()
    # The run has no smaller image.
    table = rows()
    table = table[table["reference"] != "downsample"]
    table.to_parquet(folder / "analyses" / "ahead.parquet")
    claims().to_parquet(folder / "analyses" / "ahead_of_each.parquet")
    text = reports.build(folder).read_text().replace("\u00a0", " ").replace("\u2212", "-")
    assert "Is MTR ahead of every other method?" in text
    answer = (
        "MTR is shown to be ahead of every other method at -20 % on vim_nano; not at -40 % on "
        "vim_nano."
    )
    assert text.count(answer) >= 1
    assert (
        "mtr less evit, the best of 2 others, on vim_nano at 20 %, 400 images: +3.0 points "
        "[+1.0, +5.0]; p of all others 0.001, corrected 0.002." in text
    )
    assert "Ahead by, points" in text
    assert "where another method keeps as much or more, it is 1 by rule" in text


def test_a_smaller_image_stands_apart_from_the_rivals() -> None:
    rivals, smaller = ahead._tables(rows(), "Top-1")
    assert set(rivals.frame["Other method"]) == {"tome", "evit"}
    assert set(smaller.frame["Other method"]) == {"downsample"}
    assert smaller.frame["p"].isna().all()
    assert "no rival" in smaller.caption

"""Figures of how well scores predict which tokens matter, and of what pruning by them costs."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.canvas import GUIDE, new_figure, paper_style
from reports.figures.lines import by_block, level, line
from reports.sensitivity_common import (
    REFERENCES,
    legend_below,
    ranked,
    ranking_name,
    select_rows,
)
from reports.style import INK, SOFT

# What a score is compared with: words, the measure of agreement, and its value by chance.
TARGETS = {
    "removal_kl": ("how far removal moves the answer", "rank correlation", 0.0),
    "removal_loss": ("what removal costs", "rank correlation", 0.0),
    "foreground": ("which tokens show the object", "area under the ROC", 0.5),
}
# The rankings drawn as lines. Those that are no score are grey or black, and most are dashed.
STYLES: dict[str, dict[str, Any]] = {
    "delta": {"color": "#3a6ec8"},
    "b": {"color": "#147b4c"},
    "c": {"color": "#e0200f"},
    "delta-b": {"color": "#603594"},
    "activation": {"color": "#796815"},
    "norm": {"color": "#89004c"},
    "cls-similarity": {"color": "#00718f"},
    "hidden-attention": {"color": INK["light"]},
    "cls-attention": {"color": "#b0387f"},
    "random": {"color": "#9aa3af"},
    "place": {"color": SOFT["light"], "linestyle": ":"},
    "foreground": {"color": SOFT["light"], "linestyle": "--"},
    "removal": {"color": SOFT["light"], "linestyle": "-."},
    "removal-kl": {"color": INK["light"], "linestyle": ":"},
    "bound": {"color": INK["light"], "linestyle": (0, (3, 1, 1, 1))},
}
# What pruning costs, a panel each.
COSTS = {"loss": "rise of the loss, nats", "flip": "share of predictions that flip"}


def score_dots(rows: pd.DataFrame, width: float) -> Figure:
    """Draw a panel for each target and a line for each score, best on top by the first target."""
    targets = _measured_targets(rows)
    order: list[str] = []
    if targets:
        order = list(ranked(select_rows(rows, target=targets[0]), ascending=True)["score"])
    # Scores without a value for the first target go to the bottom.
    order = [name for name in rows["score"].unique() if name not in order] + order
    with paper_style():
        figure = new_figure(width, 0.6 + 0.165 * len(order))
        panels = figure.subplots(1, max(1, len(targets)), squeeze=False, sharey=True)[0]
        for axes, target in zip(panels, targets, strict=False):
            _draw_dots(axes, select_rows(rows, target=target), order)
            words, measure, blind = TARGETS[target]
            axes.axvline(blind, **GUIDE)
            axes.set_title(textwrap.fill(words, 18), fontsize=7.5)
            axes.set_xlabel(measure)
        names = [ranking_name(name) for name in order]
        panels[0].set_yticks(range(len(order)), names, fontsize=7)
        panels[0].set_ylim(-0.7, len(order) - 0.3)
        return figure


def _measured_targets(rows: pd.DataFrame) -> list[str]:
    # Data sets without masks lack the object.
    measured = set(rows["target"])
    return [target for target in TARGETS if target in measured]


def _draw_dots(axes: Axes, rows: pd.DataFrame, order: list[str]) -> None:
    for row in rows.to_dict("records"):
        height = order.index(row["score"])
        # A mean over one image has no interval.
        if np.isfinite(row["low"]):
            axes.hlines(height, row["low"], row["high"], color=SOFT["light"], linewidth=1.4)
        fill = "white" if row["score"] in REFERENCES else INK["light"]
        axes.plot(
            row["mean"],
            height,
            "o",
            color=INK["light"],
            markersize=3.8,
            markerfacecolor=fill,
        )


def score_lines(rows: pd.DataFrame, width: float) -> Figure:
    """Draw a panel for each target, a line for each score by block."""
    targets = _measured_targets(rows)
    # Of the references only `place` is drawn: the others would crowd the scores.
    hidden = [name for name in REFERENCES if name != "place"]
    rows = rows[~rows["score"].isin(hidden)]
    with paper_style():
        figure = new_figure(width, 3.3)
        panels = figure.subplots(1, max(1, len(targets)), squeeze=False)[0]
        for axes, target in zip(panels, targets, strict=False):
            _draw_lines(axes, select_rows(rows, target=target), "score", band=True)
            words, measure, blind = TARGETS[target]
            level(axes, blind)
            axes.set_title(textwrap.fill(words, 22), fontsize=7.5)
            axes.set_ylabel(measure)
        legend_below(figure, panels[0], most=4, handlelength=3)
        return figure


def _draw_lines(axes: Axes, rows: pd.DataFrame, column: str, band: bool) -> None:
    """Draw a line by block for each ranking in `column` that has a style."""
    for name, style in STYLES.items():
        part = rows[rows[column] == name]
        if len(part):
            line(axes, part, "block", ranking_name(name), band=band, **style)
    by_block(axes)


def pruning_lines(groups: pd.DataFrame, width: float) -> Figure:
    """Draw the rise of the loss and flips by block, a line for each ranking."""
    with paper_style():
        figure = new_figure(width, 3.6)
        panels = figure.subplots(1, len(COSTS))
        for axes, (quantity, name) in zip(panels, COSTS.items(), strict=True):
            # The bands of fifteen lines would hide them.
            _draw_lines(axes, select_rows(groups, quantity=quantity), "ranking", band=False)
            level(axes)
            axes.set_ylabel(name)
        legend_below(figure, panels[0], most=4, handlelength=3)
        return figure

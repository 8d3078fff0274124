"""Ranking of the methods at one budget, where a line would have a single point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from reports.aggregate import metric_of
from reports.figures.canvas import ABOVE, NOTE, THIN, Style, panel_width, stroke
from reports.figures.fonts import inches, wrapped
from reports.formatting import budget_name, fold, percent, present, share_removed
from reports.style import Looks
from suite.stats.compare import other_work

# behind words, so that no grid line crosses them
WHITE = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"}


def dots(axes: Axes, part: pd.DataFrame, looks: Looks, chance: float | None) -> None:
    """Rank the methods at one budget: a dot with its 95 % interval, name and value each.

    A wide pale line is the range of the seeds. A name includes the share of FLOPs removed if that
    is more than half a point off the budget.
    """
    ranked, budget = ranking(part)
    names = []
    for height, row in enumerate(ranked.to_dict("records")):
        look, value = looks[str(row["label"])], row["top1"] * 100
        low = high = value
        if present(row["top1_low"]):
            low, high = row["top1_low"] * 100, row["top1_high"] * 100
        axes.hlines(height, low, high, color=look.light, linewidth=1.4, alpha=0.75, zorder=2)
        if row["seeds"] > 1:
            seeds = row["seed_low"] * 100, row["seed_high"] * 100
            axes.hlines(height, *seeds, color=look.light, linewidth=4, alpha=0.3)
        axes.plot(value, height, label=look.title, zorder=3, **stroke(look))
        style: Style = NOTE | {"xytext": (5, 0), "va": "center", "zorder": 2, "bbox": WHITE}
        axes.annotate(percent(row["top1"]), (max(high, value), height), **style)
        names.append(fold(look.title, 30) + share_off(row, budget))
    axes.set_yticks(range(len(names)), names, fontsize=7.5)
    for text, label in zip(axes.get_yticklabels(), ranked["label"], strict=True):
        text.set_color(looks[str(label)].light)
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.margins(x=0.12)
    dense = part.loc[part["method"] == "none", "top1"].dropna().tolist()
    # the axis includes the dense accuracy, whose name is written above it
    axes.update_datalim([(level * 100, 0.0) for level in dense], updatey=False)
    axes.autoscale_view(scaley=False)
    axes.set_xlim(left=max(0.0, axes.get_xlim()[0]))
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    removed = f"with {budget_name(budget)} of FLOPs removed"
    beside = max(inches(line, 7.5) for name in names for line in name.splitlines())
    words = f"{metric_of(part).axis}, %, {removed} (95 % interval)"
    axes.set_xlabel(wrapped(words, panel_width(axes) - beside - 0.2, 8))
    for level in dense:
        _level(axes, level, "dense")
    low, high = axes.get_xlim()
    # the axis is not stretched for chance, which may be far from all methods
    if chance is not None and low <= chance * 100 <= high:
        _level(axes, chance, "chance")


def _level(axes: Axes, value: float, name: str) -> None:
    """Draw a vertical level with its name above the axes."""
    axes.axvline(value * 100, **THIN)
    at, style = (value * 100, 1.0), NOTE | {"xytext": (0, 2)}
    axes.annotate(f"{name} {percent(value)}", at, xycoords=ABOVE, ha="center", **style)


def ranking(part: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """Return the methods of `part`, the worst first, and their one budget."""
    methods = part[part["method"] != "none"].dropna(subset=["top1"])
    return methods.sort_values("top1", kind="stable"), float(part["budget"].dropna().iloc[0])


def share_off(row: Mapping[Any, Any], budget: float) -> str:
    """Return the share of FLOPs removed, in brackets, if that is not the budget."""
    away = present(row["removed"]) and other_work(row["removed"], budget, row["coarse"])
    return f" ({share_removed(row['removed'], budget)})" if away else ""

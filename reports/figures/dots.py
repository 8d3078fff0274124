"""Ranking of the methods at one budget, where a line would have a single point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from reports.figures.canvas import THIN, stroke
from reports.formatting import budget_name, fold, percent, present
from reports.style import SOFT, Look
from suite.stats.compare import other_work


def dots(axes: Axes, part: pd.DataFrame, looks: Mapping[str, Look], chance: float | None) -> None:
    """Rank the methods at one budget: a dot with its 95 % interval, name and value each.

    A name includes the share of FLOPs removed if that is more than half a point off the budget.
    """
    ranked = (
        part[part["method"] != "none"].dropna(subset=["top1"]).sort_values("top1", kind="stable")
    )
    budget = float(part["budget"].dropna().iloc[0])
    for height, row in enumerate(ranked.to_dict("records")):
        _dot(axes, height, row, looks[str(row["label"])])
    names = [_landed(row, budget) for row in ranked.to_dict("records")]
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
    axes.set_xlabel(f"top-1 accuracy, %, {removed} (95 % interval)")
    for level in dense:
        _level(axes, level, "dense")
    low, high = axes.get_xlim()
    # the axis is not stretched for chance, which may be far from all methods
    if chance is not None and low <= chance * 100 <= high:
        _level(axes, chance, "chance")


def _dot(axes: Axes, height: int, row: dict[Any, Any], look: Look) -> None:
    """Draw one method: its interval, the range of its seeds, its mark and its value."""
    value = row["top1"] * 100
    low = high = value
    if present(row["top1_low"]):
        low, high = row["top1_low"] * 100, row["top1_high"] * 100
    axes.hlines(height, low, high, color=look.light, linewidth=1.4, alpha=0.75, zorder=2)
    if row["seeds"] > 1:
        seeds = row["seed_low"] * 100, row["seed_high"] * 100
        axes.hlines(height, *seeds, color=look.light, linewidth=4, alpha=0.3)
    axes.plot(value, height, label=str(row["label"]), zorder=3, **stroke(look))
    axes.annotate(
        percent(row["top1"]),
        (max(high, value), height),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        fontsize=7,
        color=SOFT["light"],
        zorder=2,
        # white behind the digits, so that no grid line crosses them
        bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"},
    )


def _level(axes: Axes, value: float, name: str) -> None:
    """Draw a vertical level with its name above the axes."""
    axes.axvline(value * 100, **THIN)
    axes.annotate(
        f"{name} {percent(value)}",
        (value * 100, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(0, 2),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=7,
        color=SOFT["light"],
    )


def _landed(row: dict[Any, Any], budget: float) -> str:
    """Return a method's name, with the share of FLOPs removed if that is not the budget."""
    name = fold(str(row["label"]), 30)
    away = present(row["removed"]) and other_work(row["removed"], budget)
    return f"{name} (\u2212{percent(row['removed'], 0)} %)" if away else name

"""The methods of one budget, ranked: what a line of one point cannot show."""

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
    """The methods at one budget from the best down: a dot with its 95 % interval, its name and its value.

    The name of one that does not land within half a point of the budget says where it does.
    """
    ranked = (
        part[part["method"] != "none"].dropna(subset=["top1"]).sort_values("top1", kind="stable")
    )
    budget = float(part["budget"].dropna().iloc[0])
    for place, row in enumerate(ranked.to_dict("records")):
        look = looks[str(row["label"])]
        low, high = (
            (row["top1_low"], row["top1_high"])
            if present(row["top1_low"])
            else (row["top1"], row["top1"])
        )
        axes.hlines(
            place, low * 100, high * 100, color=look.light, linewidth=1.4, alpha=0.75, zorder=2
        )
        if row["seeds"] > 1:
            axes.hlines(
                place,
                row["seed_low"] * 100,
                row["seed_high"] * 100,
                color=look.light,
                linewidth=4,
                alpha=0.3,
            )
        axes.plot(row["top1"] * 100, place, label=str(row["label"]), zorder=3, **stroke(look))
        axes.annotate(
            percent(row["top1"]), (max(high, row["top1"]) * 100, place), xytext=(5, 0), textcoords="offset points",
            va="center", fontsize=7, color=SOFT["light"], zorder=2,
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"},
        )  # fmt: skip
    names = [_landed(row, budget) for row in ranked.to_dict("records")]
    axes.set_yticks(range(len(names)), names, fontsize=7.5)
    for text, label in zip(axes.get_yticklabels(), ranked["label"], strict=True):
        text.set_color(looks[str(label)].light)
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.margins(x=0.12)
    dense = part.loc[part["method"] == "none", "top1"].dropna().tolist()
    axes.update_datalim(
        [(level * 100, 0.0) for level in dense], updatey=False
    )  # its name has to stand inside the axes
    axes.autoscale_view(scaley=False)
    axes.set_xlim(left=max(0.0, axes.get_xlim()[0]))
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(
        f"top-1 accuracy, %, with {budget_name(budget)} of FLOPs removed (95 % interval)"
    )
    for level, name in [
        *((level, "dense") for level in dense),
        (chance, "chance"),
    ]:
        low, high = axes.get_xlim()
        if level is not None and (name == "dense" or low <= level * 100 <= high):
            axes.axvline(level * 100, **THIN)
            axes.annotate(
                f"{name} {percent(level)}", (level * 100, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 2),
                textcoords="offset points", ha="center", va="bottom", fontsize=7, color=SOFT["light"],
            )  # fmt: skip


def _landed(row: dict[Any, Any], budget: float) -> str:
    """The name of a method, and the share of FLOPs that it removes where that is not the budget."""
    name = fold(str(row["label"]), 30)
    away = present(row["removed"]) and other_work(row["removed"], budget)
    return f"{name} (\u2212{percent(row['removed'], 0)} %)" if away else name

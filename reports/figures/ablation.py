"""Figures of an ablation: one axis setting by setting, and accuracy against the order of the survivors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reports.figures.canvas import GUIDE, columns, paper, sheet
from reports.figures.names import Tag, near
from reports.formatting import budget_name, fold
from reports.style import CYCLE, INK, KNOWN, MARKERS, SOFT

FAMILY = ["backbone", "method", "budget"]
LINE = 0.19  # inches a setting
COLOURS = {
    "lower": KNOWN["tome"][0],
    "higher": KNOWN["mtr"][0],
    "open": SOFT["light"],
    "reference": INK["light"],
}


def family_name(backbone: str, method: str, budget: float) -> str:
    """How one method on one backbone at one budget is spoken of."""
    done = f"{budget_name(budget)} of FLOPs removed" if budget else "nothing removed"
    return f"{method} on {backbone}, {done}" if budget else f"{backbone}, {done}"


def verdict(row: dict[str, Any]) -> str:
    """What the statistics say of a setting: reference, lower, higher, or open."""
    if row["is_reference"]:
        return "reference"
    if not row["significant"]:
        return "open"
    return "lower" if row["difference"] < 0 else "higher"


def axis_figure(rows: pd.DataFrame, width: float) -> Figure:
    """Top-1 (left) and the paired difference from the method as it is (right), a line a setting, with 95 % intervals.

    `rows` are those of one axis in the analysis ``ablation``; one row of two panels a backbone,
    method and budget. Filled marks were told apart from the reference after Holm's correction,
    hollow ones were not.
    """
    rows = rows[rows["status"] == "ok"]
    families = [(key, part) for key, part in rows.groupby(FAMILY, sort=False)]
    heights = [LINE * len(part) + 0.75 for _, part in families]
    with paper():
        figure = sheet(width, sum(heights))
        grid = figure.subplots(len(families), 2, squeeze=False, height_ratios=heights)
        for (left, right), (key, part) in zip(grid, families, strict=True):
            records = part.to_dict("records")
            for place, row in enumerate(records):
                _mark(left, place, row, ("top1", "top1_low", "top1_high"))
                if not row["is_reference"]:
                    _mark(right, place, row, ("difference", "difference_low", "difference_high"))
            own = next((row["top1"] for row in records if row["is_reference"]), None)
            if own is not None:
                left.axvline(100 * own, **GUIDE)
            right.axvline(0, **GUIDE)
            left.set_yticks(range(len(records)), [fold(row["setting"], 34) for row in records])
            right.set_yticks(range(len(records)), [])
            for axes in (left, right):
                axes.set_ylim(len(records) - 0.4, -0.6)
            left.set_title(family_name(*key))
            left.set_xlabel("top-1 accuracy, %")
            right.set_xlabel("difference from the reference, points")
        return figure


def _mark(axes: Axes, place: int, row: dict[str, Any], names: tuple[str, str, str]) -> None:
    """A mark with its interval at height `place`."""
    value, low, high = (100 * row[name] for name in names)
    kind = verdict(row)
    colour = COLOURS[kind]
    axes.plot([low, high], [place, place], color=colour, linewidth=1.0, zorder=2)
    face = "white" if kind == "open" else colour
    marker = "D" if kind == "reference" else "o"
    axes.plot(
        [value], [place], marker=marker, markersize=4, color=colour, markerfacecolor=face, zorder=3
    )


def order_figure(rows: pd.DataFrame, width: float) -> Figure:
    """Top-1 (left) and agreement with the dense model (right) against Kendall's tau of the surviving sequence.

    `rows` are those of the axis order in the analysis ``ablation``. The shuffles of a method are
    joined by a line; its other orders stand apart, named. Hollow: nothing was removed.
    """
    rows = rows[rows["status"] == "ok"]
    with paper():
        figure = sheet(width, 3.1)
        panels = figure.subplots(1, 2)
        tags: list[list[Tag]] = [[], []]
        joined: list[list[NDArray[np.float64]]] = [[], []]
        for index, (key, part) in enumerate(rows.groupby(FAMILY, sort=False)):
            light, _, marker = CYCLE[index % len(CYCLE)]
            style = {"color": light, "marker": MARKERS[marker][0], "markersize": 4.5,
                     "markerfacecolor": light if key[2] else "white"}  # fmt: skip
            shuffled = part["setting"].str.contains("shuffle=") | part["is_reference"]
            line = part[shuffled].sort_values("tau")
            for panel, (axes, name) in enumerate(zip(panels, ("top1", "agreement"), strict=True)):
                points = np.column_stack((line["tau"], 100 * line[name])).astype(np.float64)
                axes.plot(*points.T, label=family_name(*key), zorder=3, **style)
                joined[panel] += [
                    points,
                    (points[1:] + points[:-1]) / 2,
                ]  # names keep off the line between them too
                for row in part[~shuffled].to_dict("records"):
                    point = np.array([[row["tau"], 100 * row[name]]], dtype=np.float64)
                    axes.plot(*point.T, linestyle="", zorder=3, **style)
                    tags[panel].append(
                        Tag(str(row["setting"]).rpartition("order=")[2], light, point)
                    )
        panels[0].set_ylabel("top-1 accuracy, %")
        panels[1].set_ylabel("same prediction as dense, %")
        for axes in panels:
            axes.set_xlabel("Kendall's tau of the surviving tokens")
            axes.set_ylim(bottom=0)
            axes.margins(x=0.08)
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(
            handles,
            names,
            loc="outside lower center",
            ncols=columns(len(names), 2 if width > 5 else 1),
        )
        figure.draw_without_rendering()
        for axes, names_there, lines in zip(panels, tags, joined, strict=True):
            near(axes, names_there, np.concatenate(lines))
        return figure

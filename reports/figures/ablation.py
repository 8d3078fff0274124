"""Figures of an ablation: an axis setting by setting, and accuracy against token order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reports.figures.canvas import GUIDE, columns, new_figure, paper_style
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
    """Return the title of one method on one backbone at one budget."""
    done = f"{budget_name(budget)} of FLOPs removed" if budget else "nothing removed"
    return f"{method} on {backbone}, {done}" if budget else f"{backbone}, {done}"


def verdict(row: dict[str, Any]) -> str:
    """Return how a setting compares with the reference: reference, lower, higher or open."""
    if row["is_reference"]:
        return "reference"
    if not row["significant"]:
        return "open"
    return "lower" if row["difference"] < 0 else "higher"


def axis_figure(rows: pd.DataFrame, width: float) -> Figure:
    """Draw top-1 and the paired difference from the unchanged method, a line a setting.

    `rows` are those of one axis in the table ``ablation``. Each backbone, method and budget has a
    row of two panels, top-1 on the left and the difference on the right, with 95 % intervals.
    Filled marks differ significantly from the reference after Holm's correction, hollow ones do
    not.
    """
    rows = rows[rows["status"] == "ok"]
    families = [(key, part) for key, part in rows.groupby(FAMILY, sort=False)]
    heights = [LINE * len(part) + 0.75 for _, part in families]
    with paper_style():
        figure = new_figure(width, sum(heights))
        grid = figure.subplots(len(families), 2, squeeze=False, height_ratios=heights)
        for (left, right), (key, part) in zip(grid, families, strict=True):
            records = part.to_dict("records")
            for height, row in enumerate(records):
                _mark(left, height, row, ("top1", "top1_low", "top1_high"))
                if not row["is_reference"]:
                    _mark(right, height, row, ("difference", "difference_low", "difference_high"))
            for row in records:
                if row["is_reference"]:
                    left.axvline(100 * row["top1"], **GUIDE)
            right.axvline(0, **GUIDE)
            left.set_yticks(range(len(records)), [fold(row["setting"], 34) for row in records])
            right.set_yticks(range(len(records)), [])
            for axes in (left, right):
                # settings read from the top down, as in the table
                axes.set_ylim(len(records) - 0.4, -0.6)
            left.set_title(family_name(*key))
            left.set_xlabel("top-1 accuracy, %")
            right.set_xlabel("difference from the reference, points")
        return figure


def _mark(axes: Axes, height: int, row: dict[str, Any], names: tuple[str, str, str]) -> None:
    """Draw a mark with its interval; `names` are the columns of value, low and high."""
    value, low, high = (100 * row[name] for name in names)
    kind = verdict(row)
    colour = COLOURS[kind]
    axes.plot([low, high], [height, height], color=colour, linewidth=1.0, zorder=2)
    # hollow marks stay legible in grey print, where the colours do not
    face = "white" if kind == "open" else colour
    marker = "D" if kind == "reference" else "o"
    look: dict[str, Any] = {
        "marker": marker,
        "markersize": 4,
        "color": colour,
        "markerfacecolor": face,
    }
    axes.plot([value], [height], zorder=3, **look)


def order_figure(rows: pd.DataFrame, width: float) -> Figure:
    """Draw top-1 and agreement with the dense model against Kendall's tau of the token order.

    `rows` are those of the axis ``order`` in the table ``ablation``. A line joins the shuffles of
    a method; its other orders are points with a name. Hollow marks: no token was removed.
    """
    rows = rows[rows["status"] == "ok"]
    with paper_style():
        figure = new_figure(width, 3.1)
        panels = figure.subplots(1, 2)
        tags: list[list[Tag]] = [[], []]
        joined: list[list[NDArray[np.float64]]] = [[], []]
        for index, (key, part) in enumerate(rows.groupby(FAMILY, sort=False)):
            light, _, marker = CYCLE[index % len(CYCLE)]
            removed = bool(key[2])
            style = {
                "color": light,
                "marker": MARKERS[marker][0],
                "markersize": 4.5,
                "markerfacecolor": light if removed else "white",
            }
            # the unchanged order is the shuffle of none, so it begins the line
            shuffled = part["setting"].str.contains("shuffle=") | part["is_reference"]
            line = part[shuffled].sort_values("tau")
            for panel, (axes, name) in enumerate(zip(panels, ("top1", "agreement"), strict=True)):
                points = np.column_stack((line["tau"], 100 * line[name])).astype(np.float64)
                axes.plot(*points.T, label=family_name(*key), zorder=3, **style)
                # names keep clear of the line between two points, too
                joined[panel] += [points, (points[1:] + points[:-1]) / 2]
                for row in part[~shuffled].to_dict("records"):
                    point = np.array([[row["tau"], 100 * row[name]]], dtype=np.float64)
                    axes.plot(*point.T, linestyle="", zorder=3, **style)
                    order = str(row["setting"]).rpartition("order=")[2]
                    tags[panel].append(Tag(order, light, point))
        panels[0].set_ylabel("top-1 accuracy, %")
        panels[1].set_ylabel("same prediction as dense, %")
        for axes in panels:
            axes.set_xlabel("Kendall's tau of the surviving tokens")
            axes.set_ylim(bottom=0)
            axes.margins(x=0.08)
        handles, names = panels[0].get_legend_handles_labels()
        across = columns(len(names), 2 if width > 5 else 1)
        figure.legend(handles, names, loc="outside lower center", ncols=across)
        # the positions of names depend on the finished layout
        figure.draw_without_rendering()
        for axes, names_there, lines in zip(panels, tags, joined, strict=True):
            near(axes, names_there, np.concatenate(lines))
        return figure

"""Mamba beside attention: the share of its dense accuracy that each backbone keeps, a panel for each method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.figures.canvas import COLUMN, THIN, columns, paper, sheet
from reports.formatting import fold
from reports.style import SOFT

ATTENTION = "attention"
# Warm for attention, cool for Mamba, as for the methods made for each; a marker and a dash for each
# of several.
HUES = {
    ATTENTION: ("#d1291c", "#6f2601", "#98033e"),
    "Mamba": ("#0c6ab6", "#0b758a", "#8f44c1", "#053758"),
}
MARKERS = {ATTENTION: "s^h", "Mamba": "oDvp"}
DASHES = ("-", (0, (4, 2)), (0, (1.2, 1.6)), (0, (5, 1, 1, 1)))
PANEL = 1.9  # inches


def families_figure(frame: pd.DataFrame, width: float) -> Figure:
    """Accuracy kept (95 % interval shaded) against FLOPs removed, one panel a method and one line a backbone."""
    methods = list(dict.fromkeys(frame["method"]))
    strokes = backbone_strokes(frame)
    with paper():
        across = columns(len(methods), 2 if width <= COLUMN else 4)
        rows = -(-len(methods) // across)
        figure = sheet(width, PANEL * rows + 0.7)
        panels = figure.subplots(rows, across, squeeze=False, sharex=True, sharey=True).ravel()
        for axes, method in zip(panels, methods, strict=False):
            axes.set_title(fold(method, 24))
            _lines(axes, frame[frame["method"] == method], strokes)
        for axes in panels[len(methods) :]:
            axes.set_axis_off()
        for place, axes in enumerate(panels[: len(methods)]):
            axes.tick_params(labelbottom=place + across >= len(methods))
        figure.supxlabel("FLOPs removed, % of the backbone's own", fontsize=8, color=SOFT["light"])
        figure.supylabel("accuracy kept, % of dense", fontsize=8, color=SOFT["light"])
        handles = [Line2D([], [], **stroke) for stroke in strokes.values()]
        names = [f"{name} ({_family(frame, name)})" for name in strokes]
        figure.legend(
            handles, names, loc="outside upper center", ncols=columns(len(names), 3 if width > COLUMN else 1),
            handlelength=2.8,
        )  # fmt: skip
        return figure


def backbone_strokes(frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Line and marker of every backbone of `frame`, as arguments of `Axes.plot`."""
    found: dict[str, dict[str, Any]] = {}
    counts: dict[str, int] = {}
    for name in dict.fromkeys(frame["backbone"]):
        family = _family(frame, name)
        place = counts[family] = counts.get(family, -1) + 1
        hues, markers = HUES.get(family, HUES["Mamba"]), MARKERS.get(family, MARKERS["Mamba"])
        found[str(name)] = {
            "color": hues[place % len(hues)],
            "marker": markers[place % len(markers)],
            "linestyle": DASHES[place % len(DASHES)],
            "markeredgecolor": "white",
            "markeredgewidth": 0.5,
        }
    return found


def _family(frame: pd.DataFrame, name: object) -> str:
    return str(frame.loc[frame["backbone"] == name, "mixer"].iloc[0])


def _lines(axes: Axes, rows: pd.DataFrame, strokes: Mapping[str, Mapping[str, Any]]) -> None:
    """One method: a line for each backbone from what is kept with nothing removed, which is everything."""
    axes.axhline(100, **THIN)
    for name, part in rows.groupby("backbone", sort=False):
        stroke = strokes[str(name)]
        part = part.sort_values("removed")
        places = [0.0, *(part["removed"] * 100)]
        axes.plot(
            places,
            [100.0, *(part["kept"] * 100)],
            markevery=range(1, len(places)),
            zorder=3,
            **stroke,
        )
        low, high = ([100.0, *(part[side] * 100)] for side in ("kept_low", "kept_high"))
        axes.fill_between(
            places, low, high, color=str(stroke["color"]), alpha=0.16, linewidth=0, zorder=1
        )

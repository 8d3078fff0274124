"""Figure of Mamba beside attention: the share of dense accuracy that each backbone keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.figures.canvas import COLUMN, THIN, columns, new_figure, paper_style
from reports.formatting import fold
from reports.style import SOFT

ATTENTION = "attention"
# warm for attention, cool for Mamba, as the hues of the methods made for each
HUES = {
    ATTENTION: ("#d1291c", "#6f2601", "#98033e"),
    "Mamba": ("#0c6ab6", "#0b758a", "#8f44c1", "#053758"),
}
MARKERS = {ATTENTION: "s^h", "Mamba": "oDvp"}
DASHES = ("-", (0, (4, 2)), (0, (1.2, 1.6)), (0, (5, 1, 1, 1)))
PANEL = 1.9  # inches


def families_figure(frame: pd.DataFrame, width: float) -> Figure:
    """Draw accuracy kept against FLOPs removed: a panel a method, a line a backbone.

    95 % intervals are shaded.
    """
    methods = list(dict.fromkeys(frame["method"]))
    strokes = backbone_strokes(frame)
    with paper_style():
        across = columns(len(methods), 2 if width <= COLUMN else 4)
        rows = -(-len(methods) // across)
        figure = new_figure(width, PANEL * rows + 0.7)
        panels = figure.subplots(rows, across, squeeze=False, sharex=True, sharey=True).ravel()
        for axes, method in zip(panels, methods, strict=False):
            axes.set_title(fold(method, 24))
            _lines(axes, frame[frame["method"] == method], strokes)
        for axes in panels[len(methods) :]:
            axes.set_axis_off()
        # matplotlib labels the last row alone, which may have empty panels
        for index, axes in enumerate(panels[: len(methods)]):
            axes.tick_params(labelbottom=index + across >= len(methods))
        figure.supxlabel("FLOPs removed, % of the backbone's own", fontsize=8, color=SOFT["light"])
        figure.supylabel("accuracy kept, % of dense", fontsize=8, color=SOFT["light"])
        handles = [Line2D([], [], **stroke) for stroke in strokes.values()]
        names = [f"{name} ({_family(frame, name)})" for name in strokes]
        ncols = columns(len(names), 3 if width > COLUMN else 1)
        # long enough to show a whole period of the dashes
        figure.legend(handles, names, loc="outside upper center", ncols=ncols, handlelength=2.8)
        return figure


def backbone_strokes(frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return line and marker of every backbone in `frame`, as arguments of `Axes.plot`."""
    strokes: dict[str, dict[str, Any]] = {}
    counts: dict[str, int] = {}
    for name in dict.fromkeys(frame["backbone"]):
        family = _family(frame, name)
        index = counts[family] = counts.get(family, -1) + 1
        hues, markers = HUES.get(family, HUES["Mamba"]), MARKERS.get(family, MARKERS["Mamba"])
        strokes[str(name)] = {
            "color": hues[index % len(hues)],
            "marker": markers[index % len(markers)],
            "linestyle": DASHES[index % len(DASHES)],
            "markeredgecolor": "white",
            "markeredgewidth": 0.5,
        }
    return strokes


def _family(frame: pd.DataFrame, name: object) -> str:
    """Return whether a backbone mixes tokens by Mamba or by attention."""
    return str(frame.loc[frame["backbone"] == name, "mixer"].iloc[0])


def _lines(axes: Axes, rows: pd.DataFrame, strokes: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw one method: a line for each backbone, with its interval."""
    axes.axhline(100, **THIN)
    for name, part in rows.groupby("backbone", sort=False):
        stroke = strokes[str(name)]
        part = part.sort_values("removed")
        # each line begins at the dense model, which removes nothing and keeps everything
        removed = [0.0, *(part["removed"] * 100)]
        kept = [100.0, *(part["kept"] * 100)]
        axes.plot(removed, kept, markevery=range(1, len(removed)), zorder=3, **stroke)
        low, high = ([100.0, *(part[side] * 100)] for side in ("kept_low", "kept_high"))
        colour = str(stroke["color"])
        axes.fill_between(removed, low, high, color=colour, alpha=0.16, linewidth=0, zorder=1)

"""Figures of measured speed: gain against the FLOPs cut, what the time goes to, cost by length, accuracy by time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from reports.figures.canvas import GUIDE, columns, paper, sheet, stroke
from reports.figures.lines import level
from reports.formatting import fold, percent
from reports.style import INK, KNOWN, SOFT, Look

PLACE = ["backbone", "precision", "batch"]
KINDS = {
    "gemm": ("matrix products", KNOWN["mtr"][0]),
    "scan": ("scan", KNOWN["stm"][1]),
    "elementwise": ("elementwise", KNOWN["delta"][1]),
    "reduction": ("the method itself", KNOWN["tome"][0]),
    "rest": ("rest: Python, waiting", SOFT["dark"]),
}
BAR = 0.2  # inches
LENGTHWISE = {"ms": "milliseconds an image", "peak_mib": "peak memory of a pass, MiB"}


def native(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows at each backbone's own image size, which is timed first; a method that shrinks it has its own."""
    dense = rows[rows["verdict"] == "dense"].groupby("backbone")["tokens"].first()
    own = rows["tokens"] <= rows["backbone"].map(dense)
    return rows[own].drop_duplicates([*PLACE, "label", "budget"])


def place_name(backbone: str, precision: str, batch: int) -> str:
    """How one panel is spoken of."""
    return f"{backbone}, {precision}, batch {batch}"


def speedup_figure(rows: pd.DataFrame, looks: Mapping[str, Look], width: float) -> Figure:
    """Realised speed-up against the FLOPs cut, a panel a backbone, precision and batch.

    The curve is where time would follow FLOPs, the line at 1 where nothing is gained; a ring marks
    what was not shown to gain although FLOPs fall. `rows` are those of the analysis ``bench``.
    """
    found = [
        (key, part[part["removed"] > 0]) for key, part in native(rows).groupby(PLACE, sort=False)
    ]
    with paper():
        across = min(len(found), 2 if width > 5 else 1)
        down = -(-len(found) // across)
        figure = sheet(width, 2.7 * down + 0.4)
        panels = figure.subplots(down, across, squeeze=False).ravel()
        for axes, (key, part) in zip(panels, found, strict=False):
            _followed(axes, part)
            for label, line in part.groupby("label", sort=False):
                _gain(axes, line.sort_values("removed"), looks[str(label)])
            axes.set_title(place_name(*key))
            axes.set_xlabel("FLOPs removed, %")
            axes.set_ylabel("times as fast as dense")
        for axes in panels[len(found) :]:
            axes.set_axis_off()
        _legend(figure, panels, width)
        return figure


def _followed(axes: Axes, part: pd.DataFrame) -> None:
    """The curve 1 / (1 - cut), and the level 1."""
    cut = np.linspace(0, float(part["removed"].max()) + 0.03 if len(part) else 0.5, 60)
    axes.plot(
        100 * cut,
        1 / (1 - cut),
        label="if time followed FLOPs",
        **GUIDE | {"linestyle": (0, (4, 2))},
    )
    level(axes, 1)


def _gain(axes: Axes, line: pd.DataFrame, look: Look) -> None:
    """The points of one method with their intervals, and rings round those without a gain."""
    low, high = line["speedup"] - line["speedup_low"], line["speedup_high"] - line["speedup"]
    axes.errorbar(
        100 * line["removed"],
        line["speedup"],
        [low, high],
        fmt="none",
        ecolor=look.light,
        linewidth=0.9,
    )
    axes.plot(100 * line["removed"], line["speedup"], label=look.label, zorder=3, **stroke(look))
    lost = line[line["verdict"] != "faster"]
    axes.plot(100 * lost["removed"], lost["speedup"], linestyle="", marker="o", markersize=10, markerfacecolor="none",
              markeredgecolor=INK["light"], markeredgewidth=1.0, label="_lost", zorder=4)  # fmt: skip


def shares_figure(rows: pd.DataFrame, width: float) -> Figure:
    """What the time of a pass goes to, a bar each, as long as the pass takes; a panel a backbone, precision and batch.

    Bars are in milliseconds an image; the share of the method itself is written behind its bar.
    """
    found = list(native(rows).groupby(PLACE, sort=False))
    heights = [BAR * len(part) + 0.7 for _, part in found]
    with paper():
        figure = sheet(width, sum(heights) + 0.3)
        panels = figure.subplots(len(found), 1, squeeze=False, height_ratios=heights).ravel()
        for axes, (key, part) in zip(panels, found, strict=True):
            for place, row in enumerate(part.to_dict("records")):
                _bar(axes, place, row)
            axes.set_yticks(
                range(len(part)), [fold(bar_name(row), 34) for row in part.to_dict("records")]
            )
            axes.set_ylim(len(part) - 0.4, -0.6)
            axes.grid(axis="y", visible=False)
            axes.set_title(place_name(*key))
            axes.set_xlabel("milliseconds an image")
            axes.margins(x=0.1)
        handles, names = panels[0].get_legend_handles_labels()
        unique = dict(zip(names, handles, strict=True))
        figure.legend(
            unique.values(), unique, loc="outside lower center", ncols=columns(len(unique))
        )
        return figure


def bar_name(row: dict[str, Any]) -> str:
    """A method and how much of the FLOPs it removes."""
    return (
        "dense"
        if row["verdict"] == "dense"
        else f"{row['label']}, \u2212{percent(row['removed'], 0)} %"
    )


def _bar(axes: Axes, place: int, row: dict[str, Any]) -> None:
    start, whole = 0.0, row["ms"] / row["batch"]
    for kind, (name, colour) in KINDS.items():
        length = row[f"share_{kind}"] * whole
        axes.barh(place, length, left=start, height=0.7, color=colour, label=name, zorder=2)
        start += length
    if row["verdict"] != "dense":
        told = f"{percent(row['share_reduction'])} %"
        axes.annotate(
            told,
            (start, place),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=6.5,
        )


def length_figure(rows: pd.DataFrame, looks: Mapping[str, Look], width: float) -> Figure:
    """Time (left) and peak memory (right) of one image against its patch tokens, a row of panels a backbone.

    Both axes are logarithmic, and the same for all backbones.
    """
    part = by_length(rows)
    found = list(part.groupby("backbone", sort=False))
    with paper():
        figure = sheet(width, 2.6 * len(found) + 0.5)
        panels = figure.subplots(len(found), 2, squeeze=False, sharex=True, sharey="col")
        for pair, (backbone, own) in zip(panels, found, strict=True):
            pair[0].set_title(str(backbone))
            for axes, (name, words) in zip(pair, LENGTHWISE.items(), strict=True):
                for label, line in own.groupby("label", sort=False):
                    line = line.sort_values("tokens")
                    text = "dense" if label == "none" else str(label)
                    axes.plot(
                        line["tokens"],
                        line[name],
                        label=text,
                        zorder=3,
                        **stroke(looks[str(label)]),
                    )
                axes.set_xscale("log")
                axes.set_yscale("log")
                axes.set_xticks(sorted(part["tokens"].unique()))
                for side in (axes.xaxis, axes.yaxis):
                    side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                    side.set_minor_formatter(NullFormatter())
                axes.yaxis.set_major_locator(LogLocator(10, (1.0, 2.0, 5.0)))
                axes.minorticks_off()
                axes.set_ylabel(words)
        for axes in panels[-1]:
            axes.set_xlabel("patch tokens")
        _legend(figure, panels.ravel(), width)
        return figure


def by_length(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of one image a batch whose dense model was timed at several lengths; smaller images left out.

    At the budget that was timed at the most of them: rows of the backbone's own length have all
    budgets.
    """
    single = rows[rows["batch"] == 1]
    dense = single[single["verdict"] == "dense"]
    several = dense.groupby("backbone")["tokens"].nunique()
    lengths = set(zip(dense["backbone"], dense["tokens"], strict=True))
    kept = [
        several.get(row.backbone, 0) > 1 and (row.backbone, row.tokens) in lengths
        for row in single.itertuples()
    ]
    found = single[np.array(kept, dtype=bool)]
    timed = found.groupby(["backbone", "budget"])["tokens"].nunique()
    chosen = timed.groupby("backbone").idxmax()
    wanted = [
        pd.isna(row.budget) or chosen[row.backbone] == (row.backbone, row.budget)
        for row in found.itertuples()
    ]
    return found[np.array(wanted, dtype=bool)]


def time_figure(frame: pd.DataFrame, looks: Mapping[str, Look], width: float) -> Figure:
    """Top-1 against measured milliseconds an image, a panel a backbone.

    `frame` has a row a method and budget: backbone, label, top1, ms (an image), ms_low, ms_high.
    """
    found = list(frame.groupby("backbone", sort=False))
    with paper():
        across = min(len(found), 2 if width > 5 else 1)
        down = -(-len(found) // across)
        figure = sheet(width, 3.0 * down + 0.4)
        panels = figure.subplots(down, across, squeeze=False).ravel()
        for axes, (backbone, part) in zip(panels, found, strict=False):
            for label, line in part.groupby("label", sort=False):
                line, look = line.sort_values("ms"), looks[str(label)]
                ends = [line["ms"] - line["ms_low"], line["ms_high"] - line["ms"]]
                axes.errorbar(
                    line["ms"],
                    100 * line["top1"],
                    xerr=ends,
                    fmt="none",
                    ecolor=look.light,
                    linewidth=0.9,
                )
                name = "dense" if label == "none" else look.label
                axes.plot(line["ms"], 100 * line["top1"], label=name, zorder=3, **stroke(look))
            axes.set_title(str(backbone))
            axes.set_xlabel("measured milliseconds an image")
            axes.set_ylabel("top-1 accuracy, %")
        for axes in panels[len(found) :]:
            axes.set_axis_off()
        _legend(figure, panels, width)
        return figure


def _legend(figure: Figure, panels: Any, width: float) -> None:
    """The names of all panels, once each."""
    there = {
        name: handle
        for axes in panels
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    names = [fold(name, 30) for name in there]
    figure.legend(
        there.values(),
        names,
        loc="outside lower center",
        ncols=columns(len(names), 4 if width > 5 else 2),
    )

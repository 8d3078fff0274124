"""Figures of measured speed: speed-up, time by kind of work, cost by length, accuracy by time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from reports.figures.canvas import GUIDE, columns, new_figure, paper_style, stroke
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
    """Return the rows at each backbone's own image size; `downsample` has a smaller one."""
    # the backbone's own size is timed first
    dense = rows[rows["verdict"] == "dense"].groupby("backbone")["tokens"].first()
    own = rows["tokens"] <= rows["backbone"].map(dense)
    return rows[own].drop_duplicates([*PLACE, "label", "budget"])


def place_name(backbone: str, precision: str, batch: int) -> str:
    """Return the title of a panel."""
    return f"{backbone}, {precision}, batch {batch}"


def speedup_figure(rows: pd.DataFrame, looks: Mapping[str, Look], width: float) -> Figure:
    """Draw realised speed-up against FLOPs removed, a panel a backbone, precision and batch.

    The curve is the speed-up if time followed FLOPs, the line at 1 no gain. A ring marks a cell
    that was not shown to be faster. `rows` are those of the table ``bench``.
    """
    groups = []
    for key, part in native(rows).groupby(PLACE, sort=False):
        groups.append((key, part[part["removed"] > 0]))
    with paper_style():
        figure, panels = _panels(len(groups), width, 2.7)
        for axes, (key, part) in zip(panels, groups, strict=False):
            _followed(axes, part)
            for label, line in part.groupby("label", sort=False):
                _gain(axes, line.sort_values("removed"), looks[str(label)])
            axes.set_title(place_name(*key))
            axes.set_xlabel("FLOPs removed, %")
            axes.set_ylabel("times as fast as dense")
        _legend(figure, panels, width)
        return figure


def _followed(axes: Axes, part: pd.DataFrame) -> None:
    """Draw the curve 1 / (1 - removed) and the level 1."""
    removed = np.linspace(0, float(part["removed"].max()) + 0.03 if len(part) else 0.5, 60)
    dashed: dict[str, Any] = GUIDE | {"linestyle": (0, (4, 2))}
    axes.plot(100 * removed, 1 / (1 - removed), label="if time followed FLOPs", **dashed)
    level(axes, 1)


def _gain(axes: Axes, line: pd.DataFrame, look: Look) -> None:
    """Draw one method with its intervals, and rings round cells without a gain."""
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
    axes.plot(
        100 * lost["removed"],
        lost["speedup"],
        linestyle="",
        marker="o",
        markersize=10,
        markerfacecolor="none",
        markeredgecolor=INK["light"],
        markeredgewidth=1.0,
        label="_lost",
        zorder=4,
    )


def shares_figure(rows: pd.DataFrame, width: float) -> Figure:
    """Draw the time of a pass by kind of work, a bar a cell, in milliseconds an image.

    Each backbone, precision and batch has a panel; the method's own share is written behind its
    bar.
    """
    groups = list(native(rows).groupby(PLACE, sort=False))
    heights = [BAR * len(part) + 0.7 for _, part in groups]
    with paper_style():
        figure = new_figure(width, sum(heights) + 0.3)
        panels = figure.subplots(len(groups), 1, squeeze=False, height_ratios=heights).ravel()
        for axes, (key, part) in zip(panels, groups, strict=True):
            records = part.to_dict("records")
            for height, row in enumerate(records):
                _bar(axes, height, row)
            axes.set_yticks(range(len(records)), [fold(bar_name(row), 34) for row in records])
            axes.set_ylim(len(part) - 0.4, -0.6)
            axes.grid(axis="y", visible=False)
            axes.set_title(place_name(*key))
            axes.set_xlabel("milliseconds an image")
            axes.margins(x=0.1)
        handles, names = panels[0].get_legend_handles_labels()
        # every bar adds the same names
        unique = dict(zip(names, handles, strict=True))
        ncols = columns(len(unique))
        figure.legend(unique.values(), unique, loc="outside lower center", ncols=ncols)
        return figure


def bar_name(row: dict[str, Any]) -> str:
    """Return a method and the share of FLOPs it removes."""
    if row["verdict"] == "dense":
        return "dense"
    return f"{row['label']}, \u2212{percent(row['removed'], 0)} %"


def _bar(axes: Axes, height: int, row: dict[str, Any]) -> None:
    """Draw the time of one cell, kind by kind."""
    start, whole = 0.0, row["ms"] / row["batch"]
    for kind, (name, colour) in KINDS.items():
        length = row[f"share_{kind}"] * whole
        axes.barh(height, length, left=start, height=0.7, color=colour, label=name, zorder=2)
        start += length
    if row["verdict"] != "dense":
        share = f"{percent(row['share_reduction'])} %"
        behind: dict[str, Any] = {"xytext": (3, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(share, (start, height), fontsize=6.5, **behind)


def length_figure(rows: pd.DataFrame, looks: Mapping[str, Look], width: float) -> Figure:
    """Draw time and peak memory of one image against its patch tokens, a row a backbone.

    Both axes are logarithmic and shared by all backbones.
    """
    part = by_length(rows)
    groups = list(part.groupby("backbone", sort=False))
    with paper_style():
        figure = new_figure(width, 2.6 * len(groups) + 0.5)
        panels = figure.subplots(len(groups), 2, squeeze=False, sharex=True, sharey="col")
        for pair, (backbone, own) in zip(panels, groups, strict=True):
            pair[0].set_title(str(backbone))
            for axes, (name, words) in zip(pair, LENGTHWISE.items(), strict=True):
                for label, line in own.groupby("label", sort=False):
                    line = line.sort_values("tokens")
                    look = stroke(looks[str(label)])
                    text = "dense" if label == "none" else str(label)
                    axes.plot(line["tokens"], line[name], label=text, zorder=3, **look)
                _logarithmic(axes, sorted(part["tokens"].unique()))
                axes.set_ylabel(words)
        for axes in panels[-1]:
            axes.set_xlabel("patch tokens")
        _legend(figure, panels.ravel(), width)
        return figure


def _logarithmic(axes: Axes, lengths: list[int]) -> None:
    """Make both axes logarithmic, with a tick at every length."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(lengths)
    for side in (axes.xaxis, axes.yaxis):
        # plain numbers: 4096 is easier to read than a power of ten
        side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        side.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(LogLocator(10, (1.0, 2.0, 5.0)))
    axes.minorticks_off()


def by_length(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows at batch 1 of backbones whose dense model was timed at several lengths.

    Smaller images are left out. The budget is the one that was timed at most lengths, since only
    the backbone's own length has all budgets.
    """
    single = rows[rows["batch"] == 1]
    dense = single[single["verdict"] == "dense"]
    several = dense.groupby("backbone")["tokens"].nunique()
    lengths = set(zip(dense["backbone"], dense["tokens"], strict=True))
    kept = []
    for row in single.itertuples():
        kept.append(several.get(row.backbone, 0) > 1 and (row.backbone, row.tokens) in lengths)
    timed = single[np.array(kept, dtype=bool)]
    counts = timed.groupby(["backbone", "budget"])["tokens"].nunique()
    most_timed = counts.groupby("backbone").idxmax()
    chosen = []
    for row in timed.itertuples():
        # the dense model has no budget
        dense_row = pd.isna(row.budget)
        chosen.append(dense_row or most_timed[row.backbone] == (row.backbone, row.budget))
    return timed[np.array(chosen, dtype=bool)]


def time_figure(frame: pd.DataFrame, looks: Mapping[str, Look], width: float) -> Figure:
    """Draw top-1 against measured milliseconds an image, a panel a backbone.

    `frame` has a row a method and budget: backbone, label, top1, ms (an image), ms_low, ms_high.
    """
    groups = list(frame.groupby("backbone", sort=False))
    with paper_style():
        figure, panels = _panels(len(groups), width, 3.0)
        for axes, (backbone, part) in zip(panels, groups, strict=False):
            for label, line in part.groupby("label", sort=False):
                line, look = line.sort_values("ms"), looks[str(label)]
                top1 = 100 * line["top1"]
                ends = [line["ms"] - line["ms_low"], line["ms_high"] - line["ms"]]
                bars: dict[str, Any] = {"fmt": "none", "ecolor": look.light, "linewidth": 0.9}
                axes.errorbar(line["ms"], top1, xerr=ends, **bars)
                name = "dense" if label == "none" else look.label
                axes.plot(line["ms"], top1, label=name, zorder=3, **stroke(look))
            axes.set_title(str(backbone))
            axes.set_xlabel("measured milliseconds an image")
            axes.set_ylabel("top-1 accuracy, %")
        _legend(figure, panels, width)
        return figure


def _panels(count: int, width: float, height: float) -> tuple[Figure, Any]:
    """Return a figure of `count` panels, each `height` inches high, in one or two columns."""
    across = min(count, 2 if width > 5 else 1)
    down = -(-count // across)
    figure = new_figure(width, height * down + 0.4)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes in panels[count:]:
        axes.set_axis_off()
    return figure, panels[:count]


def _legend(figure: Figure, panels: Any, width: float) -> None:
    """Add a legend with the names of all panels, once each."""
    handles = {}
    for axes in panels:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            handles[name] = handle
    names = [fold(name, 30) for name in handles]
    ncols = columns(len(names), 4 if width > 5 else 2)
    figure.legend(handles.values(), names, loc="outside lower center", ncols=ncols)

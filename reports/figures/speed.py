"""Figures of measured speed: speed-up, time by kind of work, cost by length, accuracy by time."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from reports.aggregate import metric_of
from reports.figures.canvas import (
    GUIDE,
    NOTE,
    Style,
    legend_below,
    level,
    new_figure,
    panel_rows,
    paper_style,
    stroke,
)
from reports.formatting import fold, percent
from reports.run import Row
from reports.style import INK, KNOWN, SOFT, Looks, title_of
from suite.stats.correctness import sample_name
from suite.stats.speed_words import ONE_ROUND

PLACE = ["backbone", "precision", "batch"]
KINDS = {
    "gemm": ("matrix products", KNOWN["mtr"][0]),
    "scan": ("scan", KNOWN["stm"][1]),
    "elementwise": ("elementwise", KNOWN["delta"][1]),
    "reduction": ("the method itself", KNOWN["tome"][0]),
    "rest": ("rest: Python, waiting", SOFT["dark"]),
}
BAR = 0.2  # inches
# round cells that were not shown to be faster
RING: Style = {
    "linestyle": "",
    "marker": "o",
    "markersize": 10,
    "markerfacecolor": "none",
    "markeredgecolor": INK["light"],
    "markeredgewidth": 1.0,
}
LENGTHWISE = {"ms": "milliseconds an image", "peak_mib": "peak memory of a pass, MiB"}


def native(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows at each backbone's own image size; `downsample` has a smaller one."""
    # the backbone's own size is timed first
    dense = rows[rows["verdict"] == "dense"].groupby("backbone")["tokens"].first()
    own = rows["tokens"] <= rows["backbone"].map(dense)
    return rows[own].drop_duplicates([*PLACE, "label", "budget"])


def a_sample(rows: pd.DataFrame) -> str:
    """Return what the time of a backbone's rows is measured of: an image or a clip."""
    name = sample_name(str(rows["kind"].iloc[0]))
    return f"an {name}" if name == "image" else f"a {name}"


def place_name(backbone: str, precision: str, batch: int) -> str:
    """Return the title of a panel."""
    return f"{backbone}, {precision}, batch {batch}"


def speedup_figure(rows: pd.DataFrame, looks: Looks, width: float) -> Figure:
    """Draw realised speed-up against FLOPs removed, a panel a backbone, precision and batch.

    The curve is the speed-up if time followed FLOPs, the line at 1 no gain. A ring marks a cell
    that was not shown to be faster. `rows` are those of the table ``bench``.
    """
    groups = []
    for key, part in native(rows).groupby(PLACE, sort=False):
        groups.append((key, part[part["removed"] > 0]))
    with paper_style():
        wide = width > 5
        across = min(len(groups), 2 if wide else 1)
        figure, panels = panel_rows(len(groups), across, width, 2.7, 0.4)
        for axes, (key, part) in zip(panels, groups, strict=True):
            share = np.linspace(0, float(part["removed"].max()) + 0.03 if len(part) else 0.5, 60)
            dashed: Style = GUIDE | {"linestyle": (0, (4, 2))}
            axes.plot(100 * share, 1 / (1 - share), label="if time followed FLOPs", **dashed)
            level(axes, 1)
            for label, line in part.groupby("label", sort=False):
                line, look = line.sort_values("removed"), looks[str(label)]
                removed, speedup = 100 * line["removed"], line["speedup"]
                ends = [speedup - line["speedup_low"], line["speedup_high"] - speedup]
                bars: Style = {"fmt": "none", "ecolor": look.light, "linewidth": 0.9}
                axes.errorbar(removed, speedup, ends, **bars)
                axes.plot(removed, speedup, label=fold(look.title, 30), zorder=3, **stroke(look))
                lost = ~line["verdict"].isin(["faster", ONE_ROUND])
                axes.plot(removed[lost], speedup[lost], label="_lost", zorder=4, **RING)
            axes.set_title(place_name(*key))
            axes.set_xlabel("FLOPs removed, %")
            axes.set_ylabel("times as fast as dense")
        legend_below(figure, panels, 4 if wide else 2)
        return figure


def shares_figure(rows: pd.DataFrame, looks: Looks, width: float) -> Figure:
    """Draw the time of a pass by kind of work, a bar a cell, in milliseconds an image, or a clip.

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
                end, whole = 0.0, row["ms"] / row["batch"]
                for kind, (name, colour) in KINDS.items():
                    bar: Style = {"left": end, "height": 0.7, "color": colour, "label": name}
                    length = row[f"share_{kind}"] * whole
                    axes.barh(height, length, zorder=2, **bar)
                    end += length
                if row["verdict"] != "dense":
                    words = f"{percent(row['share_reduction'])} %"
                    behind: Style = NOTE | {"xytext": (3, 0), "va": "center", "fontsize": 6.5}
                    axes.annotate(words, (end, height), **behind | {"color": INK["light"]})
            names = [fold(bar_name(row, looks), 34) for row in records]
            axes.set_yticks(range(len(records)), names)
            axes.set_ylim(len(part) - 0.4, -0.6)
            axes.grid(axis="y", visible=False)
            axes.set_title(place_name(*key))
            axes.set_xlabel(f"milliseconds {a_sample(part)}")
            axes.margins(x=0.1)
        legend_below(figure, panels[:1])
        return figure


def bar_name(row: Row, looks: Looks) -> str:
    """Return a method and the share of FLOPs it removes."""
    if row["verdict"] == "dense":
        return "dense"
    return f"{title_of(row['label'], looks)}, \u2212{percent(row['removed'], 0)} %"


def length_figure(rows: pd.DataFrame, looks: Looks, width: float) -> Figure:
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
                    look = looks[str(label)]
                    text = fold(look.title, 30)
                    axes.plot(line["tokens"], line[name], label=text, zorder=3, **stroke(look))
                axes.set(xscale="log", yscale="log", ylabel=words)
                axes.set_xticks(sorted(part["tokens"].unique()))
                for side in (axes.xaxis, axes.yaxis):
                    # plain numbers: 4096 is easier to read than a power of ten
                    side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                    side.set_minor_formatter(NullFormatter())
                axes.yaxis.set_major_locator(LogLocator(10, (1.0, 2.0, 5.0)))
                axes.minorticks_off()
        for axes in panels[-1]:
            axes.set_xlabel("patch tokens")
        legend_below(figure, panels.ravel(), 4 if width > 5 else 2)
        return figure


def by_length(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows at batch 1 of backbones whose dense model was timed at several lengths.

    Smaller images are left out. The budget is the one that was timed at most lengths, since only
    the backbone's own length has all budgets.
    """
    single = rows[rows["batch"] == 1]
    dense = single[single["verdict"] == "dense"]
    several = dense.groupby("backbone")["tokens"].nunique() > 1
    lengths = dense.loc[dense["backbone"].map(several), ["backbone", "tokens"]]
    timed = single.merge(lengths.drop_duplicates())
    counts = timed.groupby(["backbone", "budget"])["tokens"].nunique()
    most_timed = dict(counts.groupby("backbone").idxmax().tolist())
    # the dense model has no budget
    chosen = timed["budget"].isna() | (timed["budget"] == timed["backbone"].map(most_timed))
    return timed[chosen]


def time_figure(frame: pd.DataFrame, looks: Looks, width: float) -> Figure:
    """Draw top-1 against measured milliseconds an image, or a clip, a panel a backbone.

    `frame` has a row a method and budget: backbone, kind, label, top1, ms (a sample), ms_low,
    ms_high.
    """
    groups = list(frame.groupby("backbone", sort=False))
    with paper_style():
        wide = width > 5
        across = min(len(groups), 2 if wide else 1)
        figure, panels = panel_rows(len(groups), across, width, 3.0, 0.4)
        for axes, (backbone, part) in zip(panels, groups, strict=True):
            for label, line in part.groupby("label", sort=False):
                line, look = line.sort_values("ms"), looks[str(label)]
                top1 = 100 * line["top1"]
                ends = [line["ms"] - line["ms_low"], line["ms_high"] - line["ms"]]
                bars: Style = {"fmt": "none", "ecolor": look.light, "linewidth": 0.9}
                axes.errorbar(line["ms"], top1, xerr=ends, **bars)
                axes.plot(line["ms"], top1, label=fold(look.title, 30), zorder=3, **stroke(look))
            axes.set_title(str(backbone))
            axes.set_xlabel(f"measured milliseconds {a_sample(part)}")
            axes.set_ylabel(f"{metric_of(part).axis}, %")
        legend_below(figure, panels, 4 if wide else 2)
        return figure

"""Figures of which tokens a method keeps: foreground by block, and maps on the image grid."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from reports.figures.canvas import (
    COLUMN,
    COLUMN_NAME,
    GUIDE,
    ROW_NAME,
    WIDTH,
    Array,
    Style,
    blank,
    heading,
    legend_below,
    new_figure,
    paper_style,
    picture,
    stroke,
)
from reports.figures.fonts import wrapped
from reports.formatting import budget_name, fold
from reports.section import Maps
from reports.style import SOFT, Looks

# from dark (always gone) to pale (always there); even in lightness, so it survives grey printing
MAP = "mako"
DIVERGING = "vlag"  # blue below zero, red above: distinct for colour-blind readers, too
MOST = 8  # layers that fit beside each other


def foreground(blocks: pd.DataFrame, looks: Looks, budget: float, width: float = WIDTH) -> Figure:
    """Draw the share of foreground tokens that survive, and its lift over all tokens, by block.

    `blocks` has the columns of `aggregate.by_block`. Each backbone has two panels, one below the
    other in a figure of one column.
    """
    part = blocks[blocks["budget"] == budget]
    backbones = list(dict.fromkeys(part["backbone"]))
    with paper_style():
        across = 2 if width > COLUMN else 1
        lines = max(len(backbones), 1) * 2 // across
        height = (2.9 if across == 2 else 2.3) * lines + (0.0 if across == 2 else 0.6)
        # wider gaps keep the inner label clear of the left panel
        figure = new_figure(width, height, across=0.12 if across == 2 else None)
        grid = figure.subplots(lines, across, squeeze=False).reshape(-1, 2)
        for (left, right), backbone in zip(grid, backbones, strict=False):
            rows = part[part["backbone"] == backbone]
            base = rows.groupby("block")["kept"].agg(["min", "max"])
            # a hair of height shows the band where all methods keep the same share
            left.fill_between(
                base.index,
                base["min"],
                base["max"] + 0.004,
                label="all tokens kept",
                color=SOFT["light"],
                alpha=0.25,
                linewidth=0,
            )
            for label, look in looks.items():
                line = rows[rows["label"] == label].sort_values("block")
                if len(line):
                    left.plot(
                        line["block"], line["foreground_kept"], label=look.title, **stroke(look)
                    )
                    right.plot(line["block"], line["lift"], label=look.title, **stroke(look))
            right.axhline(1.0, **GUIDE | {"zorder": 2})
            left.set_ylim(0, 1.03)
            left.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
            left.set_title(f"{backbone}, {budget_name(budget)} of FLOPs removed")
            left.set_ylabel("true foreground kept")
            right.set_ylabel("lift: foreground ÷ all kept")
            for axes in (left, right):
                axes.set_xlabel("block that the tokens enter")
                axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        legend_below(figure, grid[0][:1], 5 if across == 2 else 3, 30)
        return figure


def grids(
    rows: pd.DataFrame, column: str, layers: Sequence[int], shape: tuple[int, int] | None = None
) -> Array:
    """Return `column` of `rows` as maps (layers, height, width), with frames side by side.

    `rows` has the columns block, row and col, and frame if there are several. Places without a row
    are NaN; without a `shape` the grid ends at the last place that has one.
    """
    height, width = shape or grid_of(rows)
    # rows of other layers have no map
    rows = rows[rows["block"].isin(layers)].astype({"row": int, "col": int})
    frame = rows["frame"].astype(int) if "frame" in rows else 0 * rows["row"]
    maps = np.full((len(layers), height, (int(frame.max()) + 1) * width), np.nan)
    layer = rows["block"].map({layer: index for index, layer in enumerate(layers)})
    maps[layer, rows["row"], frame * width + rows["col"]] = rows[column]
    return maps


def grid_of(rows: pd.DataFrame) -> tuple[int, int]:
    """Return height and width of the image grid of `rows`."""
    return int(rows["row"].max()) + 1, int(rows["col"].max()) + 1


def kept_maps(
    kept: pd.DataFrame,
    titles: Mapping[str, str],
    blocks: list[int],
    title: str,
    width: float = WIDTH,
    kind: str = "images",
) -> Figure:
    """Draw maps on the image grid, a row for each method of `titles`, a column for each block.

    `kept` has one backbone and budget, a row for each (label, block, row, col), seeds averaged, of
    images or videos, by their `kind`.
    """
    height, width_of_grid = grid_of(kept)
    with paper_style():
        size = min(0.86, (width - 1.5) / len(blocks))
        tall = size * len(titles) * height / width_of_grid
        figure = new_figure(1.5 + size * len(blocks), 0.55 + tall)
        heading(figure, title)
        panels = figure.subplots(len(titles), len(blocks), squeeze=False)
        colours: Style = {
            "cmap": sns.color_palette(MAP, as_cmap=True),
            "vmin": 0,
            "vmax": 1,
        }
        image = None
        for line, (label, name) in zip(panels, titles.items(), strict=True):
            own = kept[kept["label"] == label]
            maps = grids(own, "kept", blocks, (height, width_of_grid))
            for axes, block, values in zip(line, blocks, maps, strict=True):
                blank(axes)
                # a method without a reduction at this block has no map here
                if (own["block"] == block).any():
                    image = picture(axes, values, **colours)
            line[0].set_ylabel(fold(name, 15), **ROW_NAME)
        for axes, block in zip(panels[0], blocks, strict=True):
            axes.set_title(f"block {block}", **COLUMN_NAME)
        if image is not None:
            # about three rows high, however many methods there are
            shrink = min(1.0, 3 / len(titles))
            bar = figure.colorbar(image, ax=panels, shrink=shrink, aspect=22, pad=0.02)
            # Beside a low bar the words stand in several lines.
            words = f"share of {kind} in which the token is kept"
            bar.set_label(wrapped(words, 0.7 * figure.get_figheight(), 8))
            bar.outline.set_visible(False)
        return figure


def stacked(maps: Maps, width: float) -> Figure:
    """Draw a row of panels for each row of `maps`, a column for each of up to eight layers."""
    # evenly spread, with the first and the last
    spread = np.linspace(0, len(maps.layers) - 1, min(MOST, len(maps.layers)))
    shown = np.unique(spread.round().astype(int))
    ratio = maps.values.shape[2] / maps.values.shape[3]
    colours = sns.color_palette(DIVERGING if maps.diverging else MAP, as_cmap=True)
    with paper_style():
        size = (width - 1.4) / MOST
        # names on the left and a colour scale on the right need 1.4 inches
        wide = 0.5 + 0.9 + size * max(3, len(shown))
        figure = new_figure(wide, 0.3 + (size * ratio + 0.1) * len(maps.rows))
        panels = figure.subplots(len(maps.rows), len(shown), squeeze=False)
        for line, name, stack, (low, high) in zip(
            panels, maps.rows, maps.values, maps.bounds(), strict=True
        ):
            for axes, layer in zip(line, shown, strict=True):
                image = picture(axes, stack[layer], cmap=colours, vmin=low, vmax=high)
            # a method breaks where its options begin
            folded = fold(name, 14) if "[" in name else textwrap.fill(name, 14)
            line[0].set_ylabel(folded, **ROW_NAME)
            bar = figure.colorbar(image, ax=line, aspect=9, pad=0.01, fraction=0.05)
            bar.ax.tick_params(labelsize=6)
            bar.outline.set_visible(False)
        for axes, layer in zip(panels[0], shown, strict=True):
            axes.set_title(f"block {maps.layers[layer]}", **COLUMN_NAME)
        figure.supxlabel(maps.unit, fontsize=7)
        return figure

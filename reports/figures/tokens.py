"""Figures of which tokens a method keeps: foreground by block, and maps on the image grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from reports.figures.canvas import (
    COLUMN,
    WIDTH,
    blank,
    columns,
    fitting,
    heading,
    new_figure,
    paper_style,
    stroke,
)
from reports.formatting import budget_name, fold
from reports.style import SOFT, Look

# from dark (always gone) to pale (always there); even in lightness, so it survives grey printing
MAP = "mako"
DIVERGING = "vlag"  # blue below zero, red above: distinct for colour-blind readers, too


def foreground(
    blocks: pd.DataFrame, looks: Mapping[str, Look], budget: float, width: float = WIDTH
) -> Figure:
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
            present = set(rows["label"])
            for label, look in looks.items():
                if label not in present:
                    continue
                line = rows[rows["label"] == label].sort_values("block")
                left.plot(line["block"], line["foreground_kept"], label=label, **stroke(look))
                right.plot(line["block"], line["lift"], label=label, **stroke(look))
            right.axhline(1.0, color=SOFT["light"], linewidth=0.8, linestyle=(0, (1, 2)))
            left.set_ylim(0, 1.03)
            left.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
            left.set_title(f"{backbone}, {budget_name(budget)} of FLOPs removed")
            left.set_ylabel("true foreground kept")
            right.set_ylabel("lift: foreground ÷ all kept")
            for axes in (left, right):
                axes.set_xlabel("block that the tokens enter")
                axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        handles, names = grid[0][0].get_legend_handles_labels()
        folded = [fold(name, 30) for name in names]
        most = fitting(folded, width, 5 if across == 2 else 3)
        figure.legend(handles, folded, loc="outside lower center", ncols=columns(len(names), most))
        return figure


def grid_of(kept: pd.DataFrame) -> tuple[int, int]:
    """Return height and width of the image grid of `kept`."""
    return int(kept["row"].max()) + 1, int(kept["col"].max()) + 1


def kept_map(rows: pd.DataFrame, shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return the map (height, width) of ``kept`` in `rows`, NaN where there is no row."""
    grid = np.full(shape, np.nan)
    down, across = rows["row"].to_numpy(dtype=int), rows["col"].to_numpy(dtype=int)
    grid[down, across] = rows["kept"].to_numpy(dtype=float)
    return grid


def kept_maps(
    kept: pd.DataFrame, labels: list[str], blocks: list[int], title: str, width: float = WIDTH
) -> Figure:
    """Draw maps on the image grid, a row for each method of `labels`, a column for each block.

    `kept` has one backbone and budget, a row for each (label, block, row, col), seeds averaged.
    """
    shape = grid_of(kept)
    cells = {}
    for (label, block), rows in kept.groupby(["label", "block"]):
        cells[str(label), int(block)] = rows
    with paper_style():
        size = min(0.86, (width - 1.5) / len(blocks))
        figure = new_figure(
            1.5 + size * len(blocks), 0.55 + size * len(labels) * shape[0] / shape[1]
        )
        heading(figure, title)
        panels = figure.subplots(len(labels), len(blocks), squeeze=False)
        colours = sns.color_palette(MAP, as_cmap=True)
        image = None
        for line, label in zip(panels, labels, strict=True):
            for axes, block in zip(line, blocks, strict=True):
                blank(axes)
                # a method without a reduction at this block has no map here
                if (label, block) in cells:
                    image = axes.imshow(
                        kept_map(cells[label, block], shape),
                        cmap=colours,
                        vmin=0,
                        vmax=1,
                        interpolation="nearest",
                    )
            beside: dict[str, Any] = {
                "rotation": 0,
                "ha": "right",
                "va": "center",
                "color": "black",
            }
            line[0].set_ylabel(fold(label, 15), fontsize=7, **beside)
        for axes, block in zip(panels[0], blocks, strict=True):
            axes.set_title(f"block {block}", fontweight="normal", loc="center", fontsize=7.5)
        if image is not None:
            # about three rows high, however many methods there are
            height = min(1.0, 3 / len(labels))
            bar = figure.colorbar(image, ax=panels, shrink=height, aspect=22, pad=0.02)
            bar.set_label("share of images in which the token is kept")
            bar.outline.set_visible(False)
        return figure

"""Maps on the image grid as small multiples: what the page shows behind a slider, on paper all at once."""

from __future__ import annotations

import textwrap

import numpy as np
import numpy.typing as npt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from reports.figures.canvas import blank, paper, sheet
from reports.figures.tokens import DIVERGING, MAP
from reports.formatting import fold
from reports.section import Maps

MOST = 8  # layers that fit beside each other


def _folded(name: str) -> str:
    """A name in lines of about fourteen characters, one of a method broken where its options begin."""
    return fold(name, 14) if "[" in name else textwrap.fill(name, 14)


def grids(rows: pd.DataFrame, column: str, layers: list[int]) -> npt.NDArray[np.float64]:
    """`column` of `rows` (block, row, col, perhaps frame) as (layers, height, width), frames beside each other."""
    height, width = int(rows["row"].max()) + 1, int(rows["col"].max()) + 1
    frame = rows["frame"].to_numpy(dtype=int) if "frame" in rows else np.zeros(len(rows), dtype=int)
    found = np.full((len(layers), height, (int(frame.max()) + 1) * width), np.nan)
    place = {layer: index for index, layer in enumerate(layers)}
    known = rows["block"].isin(layers).to_numpy()
    index = rows["block"].map(place).to_numpy()[known].astype(int)
    across = (frame * width + rows["col"].to_numpy(dtype=int))[known]
    found[index, rows["row"].to_numpy(dtype=int)[known], across] = rows[column].to_numpy(
        dtype=float
    )[known]
    return found


def stacked(maps: Maps, width: float) -> Figure:
    """A row of panels for each row of `maps`, a column for each of at most eight of its layers, evenly spread."""
    shown = np.unique(
        np.linspace(0, len(maps.layers) - 1, min(MOST, len(maps.layers))).round().astype(int)
    )
    ratio = maps.values.shape[2] / maps.values.shape[3]
    colours = sns.color_palette(DIVERGING if maps.diverging else MAP, as_cmap=True)
    with paper():
        size = (width - 1.4) / MOST
        figure = sheet(
            0.5 + 0.9 + size * max(3, len(shown)), 0.3 + (size * ratio + 0.1) * len(maps.rows)
        )
        panels = figure.subplots(len(maps.rows), len(shown), squeeze=False)
        for line, name, stack, (low, high) in zip(
            panels, maps.rows, maps.values, maps.bounds(), strict=True
        ):
            for axes, layer in zip(line, shown, strict=True):
                blank(axes)
                image = axes.imshow(
                    stack[layer], cmap=colours, vmin=low, vmax=high, interpolation="nearest"
                )
            line[0].set_ylabel(
                _folded(name), fontsize=7, rotation=0, ha="right", va="center", color="black"
            )
            bar = figure.colorbar(image, ax=line, aspect=9, pad=0.01, fraction=0.05)
            bar.ax.tick_params(labelsize=6)
            bar.outline.set_visible(False)
        for axes, layer in zip(panels[0], shown, strict=True):
            axes.set_title(
                f"block {maps.layers[layer]}", fontweight="normal", loc="center", fontsize=7.5
            )
        figure.supxlabel(maps.unit, fontsize=7)
        return figure

"""Maps on the image grid as small multiples; the page shows the same maps behind a slider."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from reports.figures.canvas import blank, new_figure, paper_style
from reports.figures.tokens import DIVERGING, MAP
from reports.formatting import fold
from reports.section import Maps

MOST = 8  # layers that fit beside each other


def _folded(name: str) -> str:
    """Fold a name into lines of about 14 characters; a method breaks where its options begin."""
    return fold(name, 14) if "[" in name else textwrap.fill(name, 14)


def grids(rows: pd.DataFrame, column: str, layers: list[int]) -> npt.NDArray[np.float64]:
    """Return `column` of `rows` as maps (layers, height, width), with frames side by side.

    `rows` has the columns block, row and col, and frame if there are several.
    """
    height, width = int(rows["row"].max()) + 1, int(rows["col"].max()) + 1
    frame = rows["frame"].to_numpy(dtype=int) if "frame" in rows else np.zeros(len(rows), dtype=int)
    maps = np.full((len(layers), height, (int(frame.max()) + 1) * width), np.nan)
    order = {layer: index for index, layer in enumerate(layers)}
    # rows of other layers have no map
    inside = rows["block"].isin(layers).to_numpy()
    layer = rows["block"].map(order).to_numpy()[inside].astype(int)
    down = rows["row"].to_numpy(dtype=int)[inside]
    across = (frame * width + rows["col"].to_numpy(dtype=int))[inside]
    maps[layer, down, across] = rows[column].to_numpy(dtype=float)[inside]
    return maps


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
                blank(axes)
                image = axes.imshow(
                    stack[layer], cmap=colours, vmin=low, vmax=high, interpolation="nearest"
                )
            beside: dict[str, Any] = {
                "rotation": 0,
                "ha": "right",
                "va": "center",
                "color": "black",
            }
            line[0].set_ylabel(_folded(name), fontsize=7, **beside)
            bar = figure.colorbar(image, ax=line, aspect=9, pad=0.01, fraction=0.05)
            bar.ax.tick_params(labelsize=6)
            bar.outline.set_visible(False)
        for axes, layer in zip(panels[0], shown, strict=True):
            name = f"block {maps.layers[layer]}"
            axes.set_title(name, fontweight="normal", loc="center", fontsize=7.5)
        figure.supxlabel(maps.unit, fontsize=7)
        return figure

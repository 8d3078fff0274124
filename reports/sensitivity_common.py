"""Helpers shared by the sections on sensitivity: backbones, blocks, intervals and legends."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.aggregate import blocks_of
from reports.figures.canvas import block_colours, legend_below, level, line, new_figure, paper_style
from reports.figures.tokens import grids
from reports.formatting import number, present
from reports.section import Drawing, Maps

# Block number of a row that covers all blocks.
OVERALL = -1
# What removing or moving a token costs, a panel each.
COSTS = {"loss": "rise of the loss, nats", "flip": "share of predictions that flip"}
# Rankings that are no registered score, by their names in figures.
REFERENCES = {
    "removal": "exact removal, by the loss",
    "removal-kl": "exact removal, by the answer",
    "zeroing": "exact zeroing",
    "estimate": "gradient × activation",
    "bound": "|gradient| × |activation|",
    "place": "place, from other images",
    "foreground": "true object",
}


@dataclass(frozen=True)
class BackbonePart:
    """The rows of one backbone in a table.

    ``prefix`` goes before captions and row names, ``suffix`` behind file stems; both are empty on
    a page of one backbone.
    """

    backbone: str
    rows: pd.DataFrame
    prefix: str
    suffix: str

    def of(self, frame: pd.DataFrame) -> BackbonePart:
        """Return the rows of the same backbone in another table."""
        return replace(self, rows=frame[frame["backbone"] == self.backbone])

    def drawing(
        self,
        stem: str,
        draw: Callable[[float], Figure],
        caption: str,
        alt: str,
        maps: Maps | None = None,
    ) -> Drawing:
        """Return a figure of this backbone."""
        return Drawing(f"{stem}{self.suffix}", draw, caption, alt, maps, self.backbone)


def by_backbone(frame: pd.DataFrame) -> list[BackbonePart]:
    """Split `frame` by backbone, in the order of their names."""
    backbones = sorted(frame["backbone"].unique())
    parts = []
    for name in backbones:
        prefix, suffix = "", ""
        if len(backbones) > 1:
            prefix = f"{name}: "
            # The suffix becomes part of file names and anchors.
            suffix = f"-{re.sub(r'[^a-z0-9]+', '-', name.lower())}"
        parts.append(BackbonePart(name, frame[frame["backbone"] == name], prefix, suffix))
    return parts


def ranking_name(ranking: str) -> str:
    """Name a score or another ranking as figures do."""
    # Scores of one scan direction are stored as ``delta:forward``.
    score, _, direction = ranking.partition(":")
    plain = f"{score}, {direction} scan" if direction else score
    return REFERENCES.get(ranking, plain)


def select_rows(frame: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """Return the rows of `frame` in which the columns have these values."""
    for name, value in values.items():
        frame = frame[frame[name] == value]
    return frame


def format_interval(row: Any, digits: int = 2) -> str:
    """Format ``mean``, ``low`` and ``high`` of a row as ``0.41 [0.38, 0.44]``."""
    mean = number(row["mean"], digits)
    # A mean over one image has no interval.
    if not present(row["low"]):
        return mean
    return f"{mean} [{number(row['low'], digits)}, {number(row['high'], digits)}]"


def interval_cells(
    rows: pd.DataFrame,
    heads: Mapping[str, Mapping[str, Any]],
    digits: int = 2,
) -> dict[str, str]:
    """Return a table row: under each head, the interval of the row of `rows` with these values.

    Empty where there is none.
    """
    cells = {}
    for head, values in heads.items():
        found = select_rows(rows, **values)
        cells[head] = "" if found.empty else format_interval(found.iloc[0], digits)
    return cells


def ranked(rows: pd.DataFrame, ascending: bool) -> pd.DataFrame:
    """Sort `rows` by ``mean``; rows of equal means keep their order."""
    return rows.sort_values("mean", ascending=ascending, kind="stable")


def spread_blocks(rows: pd.DataFrame, most: int = 4) -> list[int]:
    """Return at most `most` of the blocks in `rows`, evenly spread from the first to the last."""
    blocks = blocks_of(rows)
    if not blocks:
        return []
    places = np.linspace(0, len(blocks) - 1, most).round().astype(int)
    # With fewer blocks than asked for, several places are the same block.
    return [blocks[place] for place in np.unique(places)]


def draw_blocks(
    axes: Axes,
    rows: pd.DataFrame,
    x: str,
    blocks: Sequence[int],
    name: str,
    **style: Any,
) -> None:
    """Draw a line against `x` for each of `blocks`, called `name` and its number."""
    # Darker for later blocks, the same in all panels of a figure.
    colours = block_colours(blocks)
    for block in blocks:
        part = rows[rows["block"] == block]
        line(axes, part, x, f"{name} {block}", color=colours[block], **style)


def cost_panels(
    rows: pd.DataFrame,
    width: float,
    height: float,
    draw: Callable[[Axes, pd.DataFrame], None],
    most: int = 5,
    **legend: Any,
) -> Figure:
    """Draw the rise of the loss and the share of flips side by side, the lines of each by `draw`.

    `legend` are further keywords of the legend, which has at most `most` columns.
    """
    with paper_style():
        figure = new_figure(width, height)
        panels = figure.subplots(1, len(COSTS))
        for axes, (quantity, name) in zip(panels, COSTS.items(), strict=True):
            draw(axes, select_rows(rows, quantity=quantity))
            level(axes)
            axes.set_ylabel(name)
        legend_below(figure, panels[:1], most, **legend)
        return figure


def block_table(
    parts: Sequence[BackbonePart], heads: Mapping[str, Mapping[str, Any]], overall: str
) -> pd.DataFrame:
    """Tabulate intervals under `heads`, a row a block, and last that of all blocks, `overall`."""
    lines = []
    for part in parts:
        for block in [*(block for block in blocks_of(part.rows) if block != OVERALL), OVERALL]:
            name = overall if block == OVERALL else str(block)
            cells = interval_cells(select_rows(part.rows, block=block), heads)
            lines.append({"Block": f"{part.prefix}{name}", **cells})
    return pd.DataFrame(lines, columns=["Block", *heads])


def ranking_table(
    part: BackbonePart,
    column: str,
    order: pd.DataFrame,
    heads: Mapping[str, Mapping[str, Any]],
    digits: int = 2,
) -> list[dict[str, str]]:
    """Tabulate intervals under `heads`, a row for each ranking in `column`.

    Rankings are in the order of their rows in `order`, and the others behind them.
    """
    lines = []
    for name in dict.fromkeys([*order[column], *part.rows[column]]):
        cells = interval_cells(select_rows(part.rows, **{column: name}), heads, digits)
        lines.append({"Ranking": f"{part.prefix}{ranking_name(name)}", **cells})
    return lines


def grid_maps(
    rows: pd.DataFrame,
    kinds: Mapping[str, str],
    unit: str,
    diverging: bool = False,
) -> Maps:
    """Stack columns of `rows` as maps behind a slider over the blocks.

    `kinds` maps the name of a row of maps to its column. Each kind has a colour scale of its own,
    since their values are of different sizes.
    """
    layers = blocks_of(rows)
    values = np.stack([grids(rows, column, layers) for column in kinds.values()])
    return Maps(tuple(kinds), tuple(layers), values, unit, diverging, shared=False)

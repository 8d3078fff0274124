"""Where in the sequence the class token has to be, and whether windows round it help."""

from __future__ import annotations

from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.canvas import line, new_figure, paper_style
from reports.formatting import percent
from reports.report_data import ReportData
from reports.section import Drawing, Frames, Section, stored
from reports.sensitivity_common import (
    COSTS,
    BackbonePart,
    by_backbone,
    cost_panels,
    draw_blocks,
    ranking_name,
    select_rows,
    spread_blocks,
)

NEEDS = stored("sensitivity_placements")
OPTIONAL = stored("sensitivity_groups")


def section(report: ReportData, frames: Frames) -> Section | None:
    """Build the figures of moved class tokens and of protection windows."""
    parts = by_backbone(frames["sensitivity_placements"])
    figures = [_placement_figure(part) for part in parts]
    if "sensitivity_groups" in frames:
        groups = frames["sensitivity_groups"]
        # Only some rankings are tried with windows; their rows without one start the lines.
        windowed = groups.loc[groups["window"] > 0, "ranking"]
        groups = groups[groups["ranking"].isin(windowed)]
        of_groups = [part.of(groups) for part in parts]
        figures += [_window_figure(part) for part in of_groups if len(part.rows)]
    return Section(
        key="class-token",
        part="why",
        title="Where the class token has to be",
        sentence=" ".join(map(_sentence, parts)),
        figures=tuple(figures),
        brief=" ".join(map(_brief, parts)),
    )


def _brief(part: BackbonePart) -> str:
    flips = select_rows(part.rows, quantity="flip")
    first = flips["block"].min()
    early = flips[flips["block"] == first]
    steps = (early["position"] - own_position(part.rows)).abs()
    gap = int(steps[steps > 0].min())
    near, far = early[steps == gap]["mean"].mean(), early[steps == steps.max()]["mean"].mean()
    return (
        f"{part.prefix}Before block {int(first)} moving the class token by {gap} places flips "
        f"{percent(near)} % of predictions, moving it farthest {percent(far)} %."
    )


def own_position(rows: pd.DataFrame) -> int:
    """Return the class token's own position: the one where moving it changes nothing."""
    first = select_rows(rows, quantity="kl", block=rows["block"].min())
    return int(first.loc[first["mean"].idxmin(), "position"])


def _sentence(part: BackbonePart) -> str:
    flips = select_rows(part.rows, quantity="flip")
    first, depth = flips["block"].min(), flips["block"].max()
    steps = (flips["position"] - own_position(part.rows)).abs()
    moved = steps > 0
    gap = int(steps[moved].min())
    # The class token may itself be at an end, as the first of its sequence.
    ends = flips["position"].isin([flips["position"].min(), flips["position"].max()])
    # Both neighbours, or both ends, are averaged.
    by_gap = flips[steps == gap].groupby("block")["mean"].mean()
    by_end = flips[ends & moved].groupby("block")["mean"].mean()
    return (
        f"On {part.backbone} moving the class token by {gap} places before block {int(first)}, "
        f"patches in order, flips {percent(by_gap[first])} % of the predictions and moving it to "
        f"an end {percent(by_end[first])} %; reading out the token {gap} places away instead of "
        f"it flips {percent(by_gap[depth])} %."
    )


def _placement_figure(part: BackbonePart) -> Drawing:
    return part.drawing(
        "sensitivity-placement",
        partial(placement_lines, part.rows),
        "The class token is moved in the sequence before one block, all patches in order; or, "
        "dotted, nothing is moved and another token is read out at the end, as by a head that "
        "relies on the class token's old position after tokens were removed. Bands are 95 % "
        "intervals over images.",
        "Line charts of the rise of the loss and of flipped predictions by the position of the "
        "class token, by block.",
    )


def placement_lines(rows: pd.DataFrame, width: float) -> Figure:
    """Draw the rise of the loss and flips by position, a line for some blocks.

    The last block number is the readout of another token.
    """
    # Rows of the last block number move nothing: they read out another token.
    depth = rows["block"].max()
    moved = rows[rows["block"] != depth]
    own = own_position(rows)

    def draw(axes: Axes, part: pd.DataFrame) -> None:
        # Relative to its own position, which differs between backbones.
        part = part.assign(steps=part["position"] - own)
        draw_blocks(axes, part, "steps", spread_blocks(moved), "moved before block")
        readout = select_rows(part, block=depth)
        line(axes, readout, "steps", "another token read out", color="#89004c", linestyle=":")
        axes.set_xlabel("places from the class token's own")

    return cost_panels(rows, width, 3.3, draw, most=3)


def _window_figure(part: BackbonePart) -> Drawing:
    return part.drawing(
        "sensitivity-window",
        partial(window_lines, part.rows),
        "The same number of tokens is removed before one block, but none of the w patch tokens on "
        "each side of the class token: what a protection window is worth to a blind choice and to "
        "a score.",
        "Line charts of the rise of the loss by the width of the window round the class token, by "
        "block.",
    )


def window_lines(groups: pd.DataFrame, width: float) -> Figure:
    """Draw the rise of the loss by the window's width: a panel per ranking, a line per block."""
    groups = select_rows(groups, quantity="loss")
    rankings = groups["ranking"].unique()
    with paper_style():
        figure = new_figure(width, 3.1)
        panels = figure.subplots(1, len(rankings), squeeze=False)[0]
        for axes, ranking in zip(panels, rankings, strict=True):
            rows = select_rows(groups, ranking=ranking)
            # Each ranking has its own blocks: before block 0 no score can be read.
            blocks = spread_blocks(rows)
            draw_blocks(axes, rows, "window", blocks, "before block", marker="o", markersize=3)
            # Widths double, and the first is 0, which a logarithmic axis cannot show.
            axes.set_xscale("symlog", base=2, linthresh=1)
            windows = sorted(rows["window"].unique())
            axes.set_xticks(windows, [str(window) for window in windows])
            axes.set_xlabel("w, protected on each side")
            axes.set_ylabel(COSTS["loss"])
            axes.legend(fontsize=6.5)
            axes.set_title(f"tokens removed by {ranking_name(ranking)}", fontsize=7.5)
        return figure

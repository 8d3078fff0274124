"""Where the class token has to stand, and whether tokens near it deserve protection."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from reports.figures.canvas import columns, paper, sheet
from reports.figures.lines import block_colours, level, line
from reports.formatting import percent
from reports.report_data import Sheet
from reports.section import Drawing, Section
from reports.sensitivity_common import houses, named, of, ranking

ORDER = 44
INTERVAL = ("block", "mean", "low", "high", "images")
NEEDS = {"sensitivity_placements": ("backbone", "position", "quantity", *INTERVAL)}
OPTIONAL = {"sensitivity_groups": ("backbone", "ranking", "window", "quantity", *INTERVAL)}


def section(sheet: Sheet, frames: Mapping[str, pd.DataFrame]) -> Section | None:
    """The section."""
    rows, groups = frames["sensitivity_placements"], frames.get("sensitivity_groups")
    there = houses(rows)
    figures = [_placed(rows[rows["backbone"] == house], house, there) for house in there]
    if groups is not None:
        guarded = groups[groups["ranking"].isin(groups.loc[groups["window"] > 0, "ranking"])]
        figures += [
            _guarded(guarded[guarded["backbone"] == house], house, there)
            for house in houses(guarded)
        ]
    return Section(
        "class-token", "why", "Where the class token stands", _sentence(rows, there), tuple(figures)
    )


def own_place(rows: pd.DataFrame) -> int:
    """The place at which nothing changes: the class token's own."""
    first = rows[(rows["quantity"] == "kl") & (rows["block"] == rows["block"].min())]
    return int(first.loc[first["mean"].idxmin(), "position"])


def _sentence(rows: pd.DataFrame, there: list[str]) -> str:
    parts = []
    for house in there:
        part = rows[(rows["backbone"] == house) & (rows["quantity"] == "flip")]
        own, first, depth = (
            own_place(rows[rows["backbone"] == house]),
            part["block"].min(),
            part["block"].max(),
        )
        steps = (part["position"] - own).abs()
        gap = int(steps[steps > 0].min())
        near = part[steps == gap].groupby("block")["mean"].mean()
        ends = part[
            part["position"].isin([part["position"].min(), part["position"].max()]) & (steps > 0)
        ]
        ends = ends.groupby("block")["mean"].mean()
        parts.append(
            f"On {house} moving the class token by {gap} places before block {int(first)}, patches in order, flips "
            f"{percent(near[first])} % of the predictions and moving it to an end {percent(ends[first])} %; "
            "reading out "
            f"the token {gap} places away instead of it flips {percent(near[depth])} %."
        )
    return " ".join(parts)


def _placed(rows: pd.DataFrame, house: str, there: list[str]) -> Drawing:
    return Drawing(
        named("sensitivity-placement", house, there),
        partial(placement_lines, rows),
        f"{of(house, there)}The class token is put elsewhere in the sequence before one block, all patches in "
        "order; or, "
        "dotted, everything runs as it should and another token is read out at the end, as a head does that counts "
        "on "
        "the class token's old place after tokens have gone. Bands are 95 % intervals over images.",
        "Line charts of the rise of the loss and of flipped predictions by the place of the class token, by block.",
    )


def placement_lines(rows: pd.DataFrame, width: float) -> Figure:
    """Rise of the loss and flips by place, a line for some blocks; the last block number is the readout."""
    blocks = sorted(int(block) for block in rows["block"].unique())
    moved, depth = blocks[:-1], blocks[-1]
    chosen = (
        [
            moved[place]
            for place in sorted({round(place) for place in np.linspace(0, len(moved) - 1, 4)})
        ]
        if moved
        else []
    )
    colours = block_colours(chosen)
    own = own_place(rows)
    with paper():
        figure = sheet(width, 3.3)
        panels = figure.subplots(1, 2)
        shown = {"loss": "rise of the loss, nats", "flip": "share of predictions that flip"}
        for axes, (quantity, name) in zip(panels, shown.items(), strict=True):
            part = rows[rows["quantity"] == quantity].assign(
                position=lambda frame: frame["position"] - own
            )
            for block in chosen:
                line(
                    axes,
                    part[part["block"] == block],
                    "position",
                    f"moved before block {block}",
                    color=colours[block],
                )
            line(
                axes,
                part[part["block"] == depth],
                "position",
                "another token read out",
                color="#89004c",
                linestyle=":",
            )
            level(axes)
            axes.set_xlabel("places from where the class token belongs")
            axes.set_ylabel(name)
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=columns(len(names), 3))
        return figure


def _guarded(groups: pd.DataFrame, house: str, there: list[str]) -> Drawing:
    return Drawing(
        named("sensitivity-window", house, there),
        partial(window_lines, groups),
        f"{of(house, there)}The same number of tokens goes before one block, but none of the w patch tokens on "
        "each side of "
        "the class token: what a protection window is worth to a blind choice and to a score.",
        "Line charts of the rise of the loss by the width of the window round the class token, by block.",
    )


def window_lines(groups: pd.DataFrame, width: float) -> Figure:
    """Rise of the loss by the width of the window, a panel for each ranking, a line for some blocks."""
    groups = groups[groups["quantity"] == "loss"]
    names = list(dict.fromkeys(groups["ranking"]))
    with paper():
        figure = sheet(width, 3.1)
        panels = figure.subplots(1, len(names), squeeze=False)[0]
        for axes, name in zip(panels, names, strict=True):
            part = groups[groups["ranking"] == name]
            blocks = sorted(int(block) for block in part["block"].unique())
            chosen = [
                blocks[place]
                for place in sorted({round(place) for place in np.linspace(0, len(blocks) - 1, 4)})
            ]
            colours = block_colours(chosen)
            for block in chosen:
                line(
                    axes,
                    part[part["block"] == block],
                    "window",
                    f"before block {block}",
                    color=colours[block],
                    marker="o",
                    markersize=3,
                )
            axes.set_title(f"tokens go by {ranking(name)}", fontsize=7.5)
            axes.set_xscale("symlog", base=2, linthresh=1)
            axes.set_xticks(
                sorted(part["window"].unique()),
                [str(value) for value in sorted(part["window"].unique())],
            )
            axes.set_xlabel("w, protected on each side")
            axes.set_ylabel("rise of the loss, nats")
            axes.legend(fontsize=6.5)
        return figure

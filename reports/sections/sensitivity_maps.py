"""Where a backbone feels the loss of one token: maps by block, and profiles along the image and the sequence."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from reports.figures.canvas import columns, paper, sheet
from reports.figures.lines import block_colours, level, line
from reports.figures.stacks import grids, stacked
from reports.formatting import number
from reports.report_data import Sheet
from reports.section import Drawing, Maps, Section, Table
from reports.sensitivity_common import OVERALL, houses, named, of, one, told

ORDER = 40
INTERVAL = ("block", "mean", "low", "high", "images")
NEEDS = {
    "sensitivity_map": (
        "backbone",
        "block",
        "row",
        "col",
        "removal_loss",
        "removal_margin",
        "removal_flip",
        "removal_kl",
        "removal_rank",
    )
}
OPTIONAL = {
    "sensitivity_profile": ("backbone", "axis", "at", "quantity", *INTERVAL),
    "sensitivity_distance": ("backbone", "quantity", "nearness", "given", *INTERVAL),
}
AXES = {
    "row": "row of the image",
    "col": "column of the image",
    "frame": "frame of the clip",
    "centre": "patches from the centre",
    "sequence": "steps from the class token",
}
SHOWN = {
    "removal_rank": "mean standing, 0 to 1",
    "removal_kl": "KL to the unchanged\nanswer, nats",
    "removal_loss": "rise of the loss, nats",
}
KINDS = {"removal": "removed", "zeroing": "zeroed", "estimate": "gradient × activation"}
MAPPED = {
    "rank": (
        "mean standing within the image, 0 (missed least) to 1 (most)",
        False,
        "Which tokens are missed",
    ),
    "loss": ("rise of the loss, nats", True, "What the loss of one token costs"),
    "kl": (
        "KL to the unchanged answer, nats",
        False,
        "How far the loss of one token moves the answer",
    ),
    "margin": (
        "change of the true class's margin, logits",
        True,
        "What the loss of one token does to the margin",
    ),
    "flip": (
        "share of images whose prediction flips",
        False,
        "How often the loss of one token flips the prediction",
    ),
}


def section(sheet: Sheet, frames: Mapping[str, pd.DataFrame]) -> Section | None:
    """The section, None if no token was removed."""
    maps = frames["sensitivity_map"].dropna(subset=["removal_loss"])
    if maps.empty:
        return None
    there = houses(maps)
    figures = [
        drawing
        for house in there
        for drawing in _maps(maps[maps["backbone"] == house], house, there)
    ]
    profile, distance = frames.get("sensitivity_profile"), frames.get("sensitivity_distance")
    if profile is not None:
        figures += [
            _profiles(profile[profile["backbone"] == house], house, there) for house in there
        ]
    tables = () if distance is None else (_nearness(distance),)
    return Section(
        "sensitivity", "why", "Where a token is missed", _sentence(maps, there), tuple(figures), tables,
        ("Each token was removed alone, before one block, and the rest of the network run: nothing is estimated unless "
         "it is called so. A zeroed token stays in the sequence, so that a scan's state still decays there.",),
    )  # fmt: skip


def _sentence(maps: pd.DataFrame, there: list[str]) -> str:
    parts = []
    for house in there:
        rows = maps[maps["backbone"] == house]
        mean = rows.groupby("block")[["removal_loss", "removal_kl"]].mean()
        first, last = mean.iloc[0], mean.iloc[-1]
        most = rows.loc[rows["removal_kl"].idxmax()]
        parts.append(
            f"On {house} one token less moves the answer by {number(first.removal_kl, 4)} nats (KL) on average "
            "before "
            f"block {mean.index[0]} and by {number(last.removal_kl, 4)} before block {mean.index[-1]}; the loss "
            "changes by "
            f"{number(first.removal_loss, 4)} and {number(last.removal_loss, 4)}. Nowhere more than at row "
            f"{int(most.row)}, column {int(most.col)} before block {int(most.block)} ({number(most.removal_kl, 4)})."
        )
    return " ".join(parts)


def _maps(rows: pd.DataFrame, house: str, there: list[str]) -> list[Drawing]:
    layers = sorted(int(block) for block in rows["block"].unique())
    found = []
    for effect, (unit, diverging, title) in MAPPED.items():
        kinds = {
            words: f"{kind}_{effect}" for kind, words in KINDS.items() if f"{kind}_{effect}" in rows
        }
        if effect == "rank" and "bound_rank" in rows:
            kinds["|gradient| × |activation|"] = "bound_rank"
        if effect == "rank" and "foreground" in rows:
            kinds["share of images with the object there"] = "foreground"
        values = np.stack([grids(rows, column, layers) for column in kinds.values()])
        maps = Maps(tuple(kinds), tuple(layers), values, unit, diverging, shared=False)
        found.append(
            Drawing(
                named(f"sensitivity-{effect}", house, there),
                partial(stacked, maps),
                f"{of(house, there)}{title}, by the place of the token and the block before which it went; mean over "
                "the images. Each kind of map has a colour scale of its own, the same in all blocks.",
                f"Maps on the image grid, by block, of the {unit} when one token goes.",
                maps,
            )
        )
    return found


def _profiles(rows: pd.DataFrame, house: str, there: list[str]) -> Drawing:
    return Drawing(
        named("sensitivity-profiles", house, there),
        partial(profiles, rows),
        f"{of(house, there)}The same along rows, columns, the distance from the centre and the steps from the class "
        "token in the sequence (negative: before it, read by the forward scan on its way there; positive: behind "
        "it, read "
        "by the backward scan). Bands are 95 % intervals over images.",
        "Line charts of the effect of removing one token along rows, columns, distance and sequence, by block.",
    )


def profiles(rows: pd.DataFrame, width: float) -> Figure:
    """Profiles of one backbone: a row of panels for each quantity, a column for each axis, a line for some blocks."""
    axes_there = [axis for axis in AXES if axis in set(rows["axis"])]
    blocks = sorted(int(block) for block in rows["block"].unique())
    chosen = [
        blocks[place]
        for place in sorted({round(place) for place in np.linspace(0, len(blocks) - 1, 4)})
    ]
    colours = block_colours(chosen)
    with paper():
        figure = sheet(width, 5.6)
        panels = figure.subplots(
            len(SHOWN), len(axes_there), squeeze=False, sharex="col", sharey="row"
        )
        for drawn, (quantity, name) in zip(panels, SHOWN.items(), strict=True):
            for axes, axis in zip(drawn, axes_there, strict=True):
                part = rows[(rows["axis"] == axis) & (rows["quantity"] == quantity)]
                for block in chosen:
                    line(
                        axes,
                        part[part["block"] == block],
                        "at",
                        f"block {block}",
                        color=colours[block],
                    )
                if quantity == "removal_loss":
                    level(axes)
                    axes.set_xlabel(AXES[axis], fontsize=7)
            drawn[0].set_ylabel(name)
        handles, names = panels[0][0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=columns(len(names)))
        return figure


def _nearness(distance: pd.DataFrame) -> Table:
    """Correlation with nearness, by block, each way of being near alone and with the other held fixed."""
    rows = distance[distance["quantity"] == "removal_kl"]
    wanted = {
        "Near the centre": ("centre", ""),
        "Near the class token": ("sequence", ""),
        "Near the class token, the centre held fixed": ("sequence", "centre"),
    }
    lines = []
    for house in houses(rows) if len(rows) else []:
        part = rows[rows["backbone"] == house]
        for block in (
            *sorted(block for block in part["block"].unique() if block != OVERALL),
            OVERALL,
        ):
            cells = {
                head: one(part, block=block, nearness=nearness, given=given)
                for head, (nearness, given) in wanted.items()
            }
            lines.append(
                {"Block": f"{of(house, houses(rows))}{'mean' if block == OVERALL else int(block)}"}
                | {head: "" if row is None else told(row) for head, row in cells.items()}
            )
    return Table(
        "sensitivity-nearness",
        "Rank correlation, within an image, of how far a token's removal moves the answer (KL) with how near the "
        "token is "
        "to the centre of the image and, in the sequence, to the class token; 95 % intervals over images.",
        pd.DataFrame(lines, columns=["Block", *wanted]),
    )

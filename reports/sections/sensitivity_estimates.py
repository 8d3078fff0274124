"""Whether one backward pass can stand for exact removal."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from reports.figures.canvas import columns, paper, sheet
from reports.figures.lines import by_block, level, line
from reports.report_data import Sheet
from reports.section import Drawing, Section, Table
from reports.sensitivity_common import OVERALL, WORDS, houses, named, of, one, told

ORDER = 41
NEEDS = {
    "sensitivity_agreement": (
        "backbone",
        "quantity",
        "first",
        "second",
        "block",
        "mean",
        "low",
        "high",
        "images",
    )
}
PAIRS = {
    ("loss", "estimate", "zeroing"): ("gradient × activation, with zeroing (loss)", "#3a6ec8", "-"),
    ("loss", "estimate", "removal"): ("gradient × activation, with removal (loss)", "#3a6ec8", (0, (4, 2))),
    ("kl", "bound", "zeroing"): ("|gradient| × |activation|, with zeroing (answer)", "#147b4c", "-"),
    ("kl", "bound", "removal"): ("|gradient| × |activation|, with removal (answer)", "#147b4c", (0, (4, 2))),
    ("loss", "zeroing", "removal"): ("zeroing with removal, both exact (loss)", "#59616b", "-"),
    ("kl", "zeroing", "removal"): ("zeroing with removal, both exact (answer)", "#59616b", (0, (4, 2))),
}  # fmt: skip


def section(sheet: Sheet, frames: Mapping[str, pd.DataFrame]) -> Section | None:
    """The section."""
    rows = frames["sensitivity_agreement"]
    there = houses(rows)
    drawings = tuple(
        Drawing(
            named("sensitivity-estimates", house, there),
            partial(agreement, rows[rows["backbone"] == house]),
            f"{of(house, there)}Rank correlation within an image, over its tokens, by block. Gradient × activation "
            "is the "
            "change to first order when a token is scaled to nothing. Where a norm follows, scaling changes little "
            "whatever the token is worth; before the last block only the norm's epsilon keeps the estimate from "
            "zero, so "
            "that its order may be right where its size is not. The product of the two lengths asks instead how "
            "much the "
            "token could change, in any direction.",
            "Line chart of the rank correlation of estimates with exact effects, by block.",
        )
        for house in there
    )
    return Section(
        "estimates",
        "why",
        "Can the cheap estimates be trusted?",
        _sentence(rows, there),
        drawings,
        (_table(rows, there),),
    )


def _sentence(rows: pd.DataFrame, there: list[str]) -> str:
    parts = []
    for house in there:
        part = rows[(rows["backbone"] == house) & (rows["block"] == OVERALL)]
        estimate = one(part, quantity="loss", first="estimate", second="removal")
        bound = one(part, quantity="kl", first="bound", second="removal")
        if estimate is not None and bound is not None:
            parts.append(
                f"On {house}, over all places and blocks, gradient × activation has rank correlation "
                f"{told(estimate)} with "
                f"what removing a token does to the loss; the product of their lengths has {told(bound)} with how "
                "far it "
                "moves the answer."
            )
    return " ".join(parts)


def agreement(rows: pd.DataFrame, width: float) -> Figure:
    """Correlations of one backbone by block, a line for each pair."""
    with paper():
        figure = sheet(width, 3.6)
        axes = figure.subplots()
        for (quantity, first, second), (name, colour, dash) in PAIRS.items():
            part = rows[
                (rows["quantity"] == quantity)
                & (rows["first"] == first)
                & (rows["second"] == second)
            ]
            part = part[part["block"] != OVERALL]
            if len(part):
                line(axes, part, "block", name, color=colour, linestyle=dash)
        level(axes)
        by_block(axes)
        axes.set_ylabel("rank correlation")
        handles, names = axes.get_legend_handles_labels()
        figure.legend(
            handles,
            names,
            loc="outside lower center",
            ncols=columns(len(names), 2),
            handlelength=3.2,
        )
        return figure


def _table(rows: pd.DataFrame, there: list[str]) -> Table:
    lines = []
    for house in there:
        part = rows[rows["backbone"] == house]
        for block in (
            *sorted(block for block in part["block"].unique() if block != OVERALL),
            OVERALL,
        ):
            cells: dict[str, str] = {
                "Block": f"{of(house, there)}{'all' if block == OVERALL else int(block)}"
            }
            for (quantity, first, second), (name, *_) in PAIRS.items():
                row = one(part, block=block, quantity=quantity, first=first, second=second)
                cells[name] = "" if row is None else told(row)
            lines.append(cells)
    return Table(
        "sensitivity-estimates-table",
        "Rank correlation within an image over its tokens, mean over images with 95 % interval; “all” ranks the "
        "tokens of "
        f"all blocks together. {WORDS['bound']} has no sign and is held against the KL to the unchanged answer.",
        pd.DataFrame(lines),
    )

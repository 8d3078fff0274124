"""Whether one backward pass can replace exact removal."""

from __future__ import annotations

from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from reports.figures.canvas import by_block, legend_below, level, line, new_figure, paper_style
from reports.formatting import number
from reports.report_data import ReportData
from reports.section import Frames, Section, Table, stored
from reports.sensitivity_common import (
    OVERALL,
    REFERENCES,
    BackbonePart,
    block_table,
    by_backbone,
    format_interval,
    select_rows,
)

NEEDS = stored("sensitivity_agreement")
# Quantity and the two measures of it that a line correlates -> its name and colour.
PAIRS = {
    ("loss", "estimate", "zeroing"): ("gradient × activation, with zeroing (loss)", "#3a6ec8"),
    ("loss", "estimate", "removal"): ("gradient × activation, with removal (loss)", "#3a6ec8"),
    ("kl", "bound", "zeroing"): ("|gradient| × |activation|, with zeroing (answer)", "#147b4c"),
    ("kl", "bound", "removal"): ("|gradient| × |activation|, with removal (answer)", "#147b4c"),
    ("loss", "zeroing", "removal"): ("zeroing with removal, both exact (loss)", "#59616b"),
    ("kl", "zeroing", "removal"): ("zeroing with removal, both exact (answer)", "#59616b"),
}
# One of each pair of lines in a colour.
DASHED = (
    ("loss", "estimate", "removal"),
    ("kl", "bound", "removal"),
    ("kl", "zeroing", "removal"),
)
READING = (
    "Rank correlation within an image, over its tokens, by block. Gradient × activation is the "
    "first-order change when a token is scaled to nothing. Where a norm follows, scaling changes "
    "little, whatever the token is worth; before the last block only the norm's epsilon keeps the "
    "estimate from zero, so that its order may be right where its size is not. The product of the "
    "two lengths is how much the token could change to first order, in any direction."
)


def section(report: ReportData, frames: Frames) -> Section | None:
    """Build the figure and the table of correlations between estimates and exact effects."""
    parts = by_backbone(frames["sensitivity_agreement"])
    figures = []
    for part in parts:
        drawing = part.drawing(
            "sensitivity-estimates",
            partial(agreement, part.rows),
            READING,
            "Line chart of the rank correlation of estimates with exact effects, by block.",
        )
        figures.append(drawing)
    return Section(
        key="estimates",
        part="why",
        title="Can the gradient estimates be trusted?",
        sentence=" ".join(filter(None, map(_sentence, parts))),
        figures=tuple(figures),
        tables=(_table(parts),),
        brief=" ".join(filter(None, map(_brief, parts))),
    )


def _brief(part: BackbonePart) -> str:
    overall = select_rows(part.rows, block=OVERALL, second="removal")
    estimate = select_rows(overall, quantity="loss", first="estimate")
    bound = select_rows(overall, quantity="kl", first="bound")
    if estimate.empty or bound.empty:
        return ""
    return (
        f"{part.prefix}Gradient × activation ranks tokens by what removal does to the loss at "
        f"{number(estimate['mean'].iloc[0], 2)}; the product of their lengths, by how far it moves "
        f"the answer, at {number(bound['mean'].iloc[0], 2)}."
    )


def _sentence(part: BackbonePart) -> str:
    # The loss has a sign, as the estimate does; the KL and the bound have none.
    overall = select_rows(part.rows, block=OVERALL, second="removal")
    estimate = select_rows(overall, quantity="loss", first="estimate")
    bound = select_rows(overall, quantity="kl", first="bound")
    if estimate.empty or bound.empty:
        return ""
    return (
        f"On {part.backbone}, over all places and blocks, gradient × activation has rank "
        f"correlation {format_interval(estimate.iloc[0])} with what removing a token does to the "
        f"loss; the product of their lengths has {format_interval(bound.iloc[0])} with how far it "
        "moves the answer."
    )


def agreement(rows: pd.DataFrame, width: float) -> Figure:
    """Draw the correlations of one backbone by block, a line for each pair."""
    # The overall row ranks the tokens of all blocks together and has no place on the axis.
    rows = rows[rows["block"] != OVERALL]
    with paper_style():
        figure = new_figure(width, 3.6)
        axes = figure.subplots()
        for pair, (name, colour) in PAIRS.items():
            quantity, first, second = pair
            part = select_rows(rows, quantity=quantity, first=first, second=second)
            # Runs without zeroed images lack the pairs with zeroing.
            if len(part):
                dash = (0, (4, 2)) if pair in DASHED else "-"
                line(axes, part, "block", name, color=colour, linestyle=dash)
        level(axes)
        by_block(axes)
        axes.set_ylabel("rank correlation")
        # Long handles, so that dashes can be told from solid lines.
        legend_below(figure, [axes], most=2, handlelength=3.2)
        return figure


def _table(parts: list[BackbonePart]) -> Table:
    heads = {}
    for (quantity, first, second), (name, _) in PAIRS.items():
        heads[name] = {"quantity": quantity, "first": first, "second": second}
    return Table(
        "sensitivity-estimates-table",
        "Rank correlation within an image over its tokens, mean over images with 95 % interval; "
        f"“all” ranks the tokens of all blocks together. {REFERENCES['bound']} has no sign and is "
        "compared with the KL to the unchanged answer.",
        block_table(parts, heads, "all"),
    )

"""Every method reducing before one block only: where that costs most, and which tokens stay."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.aggregate import blocks_of
from reports.figures.canvas import by_block, line
from reports.figures.tokens import grids, stacked
from reports.formatting import fold, number, percent
from reports.report_data import ReportData
from reports.section import Drawing, Frames, Maps, Section, stored
from reports.sensitivity_common import (
    BackbonePart,
    by_backbone,
    cost_panels,
    ranked,
    select_rows,
)
from reports.style import Looks

NEEDS = stored("sensitivity_methods")
OPTIONAL = stored("sensitivity_kept", "sensitivity_skipped")


def section(report: ReportData, frames: Frames) -> Section | None:
    """Build the curves and kept-token maps of each backbone, with notes on skipped methods."""
    parts = by_backbone(frames["sensitivity_methods"])
    kept = frames.get("sensitivity_kept")
    figures = []
    for part in parts:
        figures.append(_curves(part, report.looks))
        # One of several merged runs may lack the maps.
        if kept is not None and len(part.of(kept).rows):
            figures.append(_kept_maps(part.of(kept), report))
    # Methods that cannot act before a single block, or not on this backbone.
    notes = []
    if "sensitivity_skipped" in frames:
        for row in frames["sensitivity_skipped"].itertuples():
            notes.append(f"{row.label} on {row.backbone}: {row.reason}.")
    return Section(
        key="layers",
        part="why",
        title="Reducing before one block only",
        sentence=" ".join(map(_sentence, parts)),
        figures=tuple(figures),
        notes=tuple(notes),
        brief=" ".join(_brief(part, report) for part in parts),
    )


def _brief(part: BackbonePart, report: ReportData) -> str:
    rows = select_rows(part.rows, quantity="flip")
    first = rows["block"].min()
    early = ranked(rows[rows["block"] == first], ascending=True)
    best, worst = early.iloc[0], early.iloc[-1]
    return (
        f"{part.prefix}Before block {int(first)} alone {report.title(best['label'])} changes the "
        f"fewest predictions, {percent(best['mean'])} %, {report.title(worst['label'])} the most, "
        f"{percent(worst['mean'])} %."
    )


def _sentence(part: BackbonePart) -> str:
    # The sentence is about flips: a share of images is easier to read than a change in nats.
    rows = select_rows(part.rows, quantity="flip")
    first, last = rows["block"].min(), rows["block"].max()
    early = ranked(rows[rows["block"] == first], ascending=True)
    late = ranked(rows[rows["block"] == last], ascending=True)
    best, worst = early.iloc[0], early.iloc[-1]
    late_best, late_worst = late.iloc[0], late.iloc[-1]
    # All methods remove as many tokens, on the same images.
    removed, images = int(best["tokens_removed"]), int(best["images"])
    return (
        f"On {part.backbone}, with {removed} tokens removed before block "
        f"{int(first)} alone, {best['label']} changes the fewest predictions "
        f"({percent(best['mean'])} %) and {worst['label']} the most ({percent(worst['mean'])} %); "
        f"before block {int(last)}, {late_best['label']} ({percent(late_best['mean'])} %) and "
        f"{late_worst['label']} ({percent(late_worst['mean'])} %), {images} images."
    )


def _curves(part: BackbonePart, looks: Looks) -> Drawing:
    removed = int(part.rows["tokens_removed"].iloc[0])
    return part.drawing(
        "sensitivity-layers",
        partial(layer_lines, part.rows, looks),
        f"Each method removes {removed} tokens before one block and none elsewhere: the change of "
        "the loss against the unreduced model and the share of predictions that flip. Bands are "
        f"95 % intervals over {number(part.rows['images'].max(), 0)} images.",
        "Line charts of the rise of the loss and the share of flipped predictions by block, one "
        "line for each method.",
    )


def layer_lines(rows: pd.DataFrame, looks: Looks, width: float) -> Figure:
    """Draw the rise of the loss and the share of flips by block, a line for each method."""
    # `looks` has the methods of all tables of the run, in the order of all figures of the page.
    evaluated = set(rows["label"])

    def draw(axes: Axes, part: pd.DataFrame) -> None:
        for label, look in looks.items():
            if label in evaluated:
                line(axes, select_rows(part, label=label), "block", fold(look.title, 26), look)
        by_block(axes)

    return cost_panels(rows, width, 3.4, draw)


def _kept_maps(part: BackbonePart, report: ReportData) -> Drawing:
    labels = tuple(part.rows["label"].unique())
    layers = blocks_of(part.rows)
    # A row of maps for each method; shares are on one colour scale.
    values = [grids(select_rows(part.rows, label=label), "kept", layers) for label in labels]
    unit = f"share of {report.run.kind} in which the token is kept"
    titles = tuple(map(report.title, labels))
    maps = Maps(titles, tuple(layers), np.stack(values), unit)
    return part.drawing(
        "sensitivity-kept",
        partial(stacked, maps),
        "How often each method keeps the token of each place when it acts before this block alone, "
        "on unreduced tokens. A merged token counts at the place of the token it was merged into.",
        "Maps on the image grid, by block, of how often each method keeps each token.",
        maps,
    )

"""Every method acting before one block alone: where reducing hurts, and which places are kept there."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from reports.figures.canvas import columns, paper, sheet
from reports.figures.lines import by_block, level, line
from reports.figures.stacks import grids, stacked
from reports.formatting import fold, number, percent
from reports.report_data import Sheet
from reports.section import Drawing, Maps, Section
from reports.sensitivity_common import houses, named, of
from reports.style import Look

ORDER = 43
NEEDS = {
    "sensitivity_methods": (
        "backbone",
        "label",
        "block",
        "quantity",
        "mean",
        "low",
        "high",
        "images",
        "removed",
    ),
}
OPTIONAL = {
    "sensitivity_kept": ("backbone", "label", "block", "row", "col", "kept"),
    "sensitivity_skipped": ("backbone", "label", "reason"),
}
SHOWN = {"loss": "rise of the loss, nats", "flip": "share of predictions that flip"}


def section(sheet: Sheet, frames: Mapping[str, pd.DataFrame]) -> Section | None:
    """The section."""
    rows, kept, skipped = (
        frames["sensitivity_methods"],
        frames.get("sensitivity_kept"),
        frames.get("sensitivity_skipped"),
    )
    there = houses(rows)
    figures = []
    for house in there:
        part = rows[rows["backbone"] == house]
        figures.append(_curves(part, sheet.looks, house, there))
        if kept is not None and (kept["backbone"] == house).any():
            figures.append(_kept(kept[kept["backbone"] == house], house, there))
    notes = (
        ()
        if skipped is None
        else tuple(f"{row.label} on {row.backbone}: {row.reason}." for row in skipped.itertuples())
    )
    return Section(
        "layers",
        "why",
        "Reducing before one block only",
        _sentence(rows, there),
        tuple(figures),
        notes=notes,
    )


def _sentence(rows: pd.DataFrame, there: list[str]) -> str:
    parts = []
    for house in there:
        part = rows[(rows["backbone"] == house) & (rows["quantity"] == "flip")]
        first, last = part["block"].min(), part["block"].max()
        early, late = (
            part[part["block"] == block].sort_values("mean", kind="stable")
            for block in (first, last)
        )
        parts.append(
            f"On {house}, with {int(part['removed'].iloc[0])} tokens removed before block {int(first)} alone, "
            f"{early.iloc[0]['label']} changes the fewest predictions ({percent(early.iloc[0]['mean'])} %) and "
            f"{early.iloc[-1]['label']} the most ({percent(early.iloc[-1]['mean'])} %); before block {int(last)}, "
            f"{late.iloc[0]['label']} ({percent(late.iloc[0]['mean'])} %) and {late.iloc[-1]['label']} "
            f"({percent(late.iloc[-1]['mean'])} %), {int(part['images'].iloc[0])} images."
        )
    return " ".join(parts)


def _curves(rows: pd.DataFrame, looks: Mapping[str, Look], house: str, there: list[str]) -> Drawing:
    return Drawing(
        named("sensitivity-layers", house, there),
        partial(layer_lines, rows, looks),
        f"{of(house, there)}Each method removes {int(rows['removed'].iloc[0])} tokens before one block and none "
        "elsewhere: "
        "the change of the loss against the unreduced model and the share of predictions that flip. Bands are 95 % "
        f"intervals over {number(rows['images'].max(), 0)} images.",
        "Line charts of the rise of the loss and the share of flipped predictions by block, one line for each method.",
    )


def layer_lines(rows: pd.DataFrame, looks: Mapping[str, Look], width: float) -> Figure:
    """Rise of the loss and flips by block, a line for each method."""
    there = [label for label in looks if (rows["label"] == label).any()]
    with paper():
        figure = sheet(width, 3.4)
        panels = figure.subplots(1, len(SHOWN))
        for axes, (quantity, name) in zip(panels, SHOWN.items(), strict=True):
            for label in there:
                part = rows[(rows["quantity"] == quantity) & (rows["label"] == label)]
                line(axes, part, "block", fold(label, 26), looks[label])
            level(axes)
            by_block(axes)
            axes.set_ylabel(name)
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=columns(len(names)))
        return figure


def _kept(kept: pd.DataFrame, house: str, there: list[str]) -> Drawing:
    labels = list(dict.fromkeys(kept["label"]))
    layers = sorted(int(block) for block in kept["block"].unique())
    values = np.stack([grids(kept[kept["label"] == label], "kept", layers) for label in labels])
    maps = Maps(tuple(labels), tuple(layers), values, "share of images in which the token is kept")
    return Drawing(
        named("sensitivity-kept", house, there),
        partial(stacked, maps),
        f"{of(house, there)}How often each method keeps each place when it acts before this block alone, on tokens "
        "that "
        "nothing was done to before. A merged token counts where its survivor stands.",
        "Maps on the image grid, by block, of how often each method keeps each token.",
        maps,
    )

"""Ablations: one axis of a method varied at a time, with what that shows in words."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pandas as pd

from reports.figures.ablation import axis_figure, order_figure
from reports.formatting import p_value, percent
from reports.report_data import ReportData
from reports.section import Drawing, Section, Table, scaled_table

NEEDS = {
    "ablation": (
        "axis",
        "backbone",
        "method",
        "budget",
        "setting",
        "label",
        "is_reference",
        "status",
        "reason",
        "seeds",
        "images",
        "top1",
        "agreement",
        "tau",
        "top1_low",
        "top1_high",
        "difference",
        "difference_low",
        "difference_high",
        "p_holm",
        "smallest",
        "significant",
    ),
    "ablation_sentences": ("axis", "backbone", "method", "budget", "sentence"),
}
# Columns of the table and their heads; an interval follows its value.
HEADS = {
    "setting": "Setting",
    "method": "Around",
    "backbone": "Backbone",
    "budget": "FLOPs removed, %",
    "seeds": "Seeds",
    "top1": "Top-1, %",
    "difference": "Difference, points",
    "difference_low": "from",
    "difference_high": "to",
    "p_holm": "p (Holm)",
    "agreement": "Agreement, %",
    "tau": "Tau",
    "reason": "Not measured",
}
# Stored as fractions.
PERCENTAGES = {
    "budget",
    "top1",
    "difference",
    "difference_low",
    "difference_high",
    "agreement",
}
DIGITS = {
    "FLOPs removed, %": 0,
    "Seeds": 0,
    "Top-1, %": 1,
    "Difference, points": 1,
    "from": 1,
    "to": 1,
    "Agreement, %": 1,
    "Tau": 2,
}
READING = (
    "One line per setting: left its accuracy, right its paired difference from the unchanged "
    "method (the diamond), with 95 % intervals; a filled mark is significant after Holm's "
    "correction over its panel, a hollow one is not."
)
BY_TAU = (
    "Accuracy and agreement with the dense model against Kendall's tau between the order of the "
    "surviving tokens and that of the image, measured image by image after every site and "
    "averaged: 1 is the image's order, 0 a random one, -1 the reverse. The line joins shuffles of "
    "a growing share of the tokens; the other orders are named."
)


def section(report: ReportData, frames: Mapping[str, pd.DataFrame]) -> Section | None:
    """Build a figure and a table for each axis."""
    rows, words = frames["ablation"], frames["ablation_sentences"]
    axes = list(rows["axis"].unique())
    figures, tables = [], []
    # In the order of the stored table.
    for axis in axes:
        of_axis = rows[rows["axis"] == axis]
        figures += _drawings(axis, of_axis, words)
        tables.append(_table(axis, of_axis))
    # A single finding is the sentence; of several, each is in the caption of its figure.
    sentence = words["sentence"].iloc[0]
    if len(words) > 1:
        # Permutations of all tokens, at budget 0, are not what the axes vary around.
        around = ", ".join(words.loc[words["budget"] > 0, "method"].unique())
        varied = f"the axis {axes[0]} was varied"
        if len(axes) > 1:
            varied = f"{len(axes)} axes were varied one at a time: {', '.join(axes)}"
        sentence = f"Around {around}, {varied}."
    return Section(
        key="ablation",
        part="answer",
        title="One choice at a time",
        sentence=sentence,
        figures=tuple(figures),
        tables=tuple(tables),
        notes=_power_note(rows),
    )


def _power_note(rows: pd.DataFrame) -> tuple[str, ...]:
    """Say how small a difference the images can show."""
    # The reference itself and skipped settings have no difference to detect.
    tested = rows.dropna(subset=["smallest", "images"])
    if tested.empty:
        return ()
    low, high = percent(tested["smallest"].min()), percent(tested["smallest"].max())
    least, depending = low, ""
    if low != high:
        least = f"{low} to {high}"
        depending = ", depending on how many answers the two settings share"
    images = int(tested["images"].max())
    return (
        f"{images:,} images detect a true difference of {least} points in four runs of five"
        f"{depending}: a hollow mark does not rule out a smaller one.",
    )


def _drawings(axis: str, rows: pd.DataFrame, words: pd.DataFrame) -> list[Drawing]:
    # An axis without a single evaluated setting has a table of reasons only.
    if not (rows["status"] == "ok").any():
        return []
    findings = " ".join(words.loc[words["axis"] == axis, "sentence"])
    drawings = [
        Drawing(
            f"ablation-{axis}",
            partial(axis_figure, rows),
            f"{findings} {READING}",
            f"Accuracy of every setting of the axis {axis}, and its difference from the unchanged "
            "method.",
        )
    ]
    # Only orders have a Kendall's tau.
    if axis == "order":
        by_tau = Drawing(
            "ablation-order-tau",
            partial(order_figure, rows),
            BY_TAU,
            "Accuracy and agreement against Kendall's tau of the surviving tokens.",
        )
        drawings.append(by_tau)
    return drawings


def _table(axis: str, rows: pd.DataFrame) -> Table:
    heads = dict(HEADS)
    # A column of reasons is shown where a setting could not be measured.
    if not rows["reason"].any():
        del heads["reason"]
    # As text: with fixed digits a small p would read as zero.
    formatted = rows.assign(p_holm=rows["p_holm"].map(p_value))
    # Skipped settings have no count of images, and an axis may have no others.
    images = int(rows["images"].max()) if rows["images"].notna().any() else 0
    return Table(
        f"ablation-{axis}",
        f"Axis {axis}, {images:,} images: every setting, its paired difference from the "
        "reference, 95 % intervals.",
        scaled_table(formatted, heads, PERCENTAGES),
        DIGITS,
    )

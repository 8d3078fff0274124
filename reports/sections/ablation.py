"""Ablations on the page: each axis with what it shows in words."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pandas as pd

from reports.figures.ablation import axis_figure, order_figure
from reports.formatting import p_value, percent
from reports.report_data import Sheet
from reports.section import Drawing, Section, Table

ORDER = 30
NEEDS = {
    "ablation": (
        "axis", "backbone", "method", "budget", "setting", "label", "is_reference", "status", "reason", "seeds",
        "images",
        "top1", "agreement", "tau", "top1_low", "top1_high", "difference", "difference_low", "difference_high", "p_holm",
        "smallest", "significant",
    ),
    "ablation_sentences": ("axis", "backbone", "method", "budget", "sentence"),
}  # fmt: skip
READING = (
    "One line a setting: left its accuracy, right its paired difference from the method as it is (the diamond), with "
    "95 % intervals; a filled mark was told apart after Holm's correction over its panel, a hollow one was not."
)
BY_TAU = (
    "Accuracy and agreement with the dense model against Kendall's tau between the order of the survivors and that of "
    "the image, measured image by image after every site and averaged: 1 is the image's order, 0 a random one, -1 the "
    "reverse. The line joins shuffles of a growing share of the tokens; the other orders are named."
)


def section(sheet: Sheet, frames: Mapping[str, pd.DataFrame]) -> Section | None:
    """One figure and table an axis."""
    rows, words = frames["ablation"], frames["ablation_sentences"]
    axes = list(dict.fromkeys(rows["axis"]))
    figures = [
        drawing for axis in axes for drawing in _drawings(axis, rows[rows["axis"] == axis], words)
    ]
    around = ", ".join(dict.fromkeys(words.loc[words["budget"] > 0, "method"]))
    several = f"{len(axes)} axes were varied one at a time: {', '.join(axes)}"
    varied = several if len(axes) > 1 else f"the axis {axes[0]} was varied"
    return Section(
        key="ablation",
        part="answer",
        title="One choice at a time",
        sentence=f"Around {around}, {varied}." if len(words) > 1 else words["sentence"].iloc[0],
        figures=tuple(figures),
        tables=tuple(_table(axis, rows[rows["axis"] == axis]) for axis in axes),
        notes=_limits(rows),
    )


def _limits(rows: pd.DataFrame) -> tuple[str, ...]:
    """How small a difference the images can show: a mark that stays hollow leaves a smaller one open."""
    tested = rows.dropna(subset=["smallest", "images"])
    if tested.empty:
        return ()
    low, high = percent(tested["smallest"].min()), percent(tested["smallest"].max())
    least = low if low == high else f"{low} to {high}"
    images = int(tested["images"].max())
    between = "" if low == high else ", depending on how many answers the two settings share"
    return (
        f"{images:,} images find a true difference of {least} points in four runs of five{between}: a hollow mark "
        "does not rule out a smaller one.",
    )


def _drawings(axis: str, rows: pd.DataFrame, words: pd.DataFrame) -> list[Drawing]:
    if not (rows["status"] == "ok").any():
        return []
    told = " ".join(words.loc[words["axis"] == axis, "sentence"])
    alt = f"Accuracy of every setting of the axis {axis}, and its difference from the method as it is."
    found = [Drawing(f"ablation-{axis}", partial(axis_figure, rows), f"{told} {READING}", alt)]
    if axis == "order":
        alt = "Accuracy and agreement against Kendall's tau of the surviving tokens."
        found.append(Drawing("ablation-order-tau", partial(order_figure, rows), BY_TAU, alt))
    return found


def _table(axis: str, rows: pd.DataFrame) -> Table:
    shown = pd.DataFrame(
        {
            "Setting": rows["setting"],
            "Around": rows["method"],
            "Backbone": rows["backbone"],
            "FLOPs removed, %": 100 * rows["budget"],
            "Seeds": rows["seeds"],
            "Top-1, %": 100 * rows["top1"],
            "Difference, points": 100 * rows["difference"],
            "from": 100 * rows["difference_low"],
            "to": 100 * rows["difference_high"],
            "p (Holm)": rows["p_holm"].map(p_value),
            "Agreement, %": 100 * rows["agreement"],
            "Tau": rows["tau"],
            "Not measured": rows["reason"],
        }
    )
    if not rows["reason"].any():
        shown = shown.drop(columns="Not measured")
    images = int(rows["images"].max()) if rows["images"].notna().any() else 0
    digits = {"FLOPs removed, %": 0, "Seeds": 0, "Top-1, %": 1, "Difference, points": 1, "from": 1, "to": 1,
              "Agreement, %": 1, "Tau": 2}  # fmt: skip
    caption = f"Axis {axis}, {images:,} images: every setting, its paired difference from the reference, 95 % intervals."
    return Table(f"ablation-{axis}", caption, shown.reset_index(drop=True), digits)

"""Where each method first loses an answer that the dense model has right."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pandas as pd

from reports.figures.breaks import Break, broken
from reports.formatting import budget_name, percent
from reports.report_data import Sheet
from reports.section import Drawing, Section, Table

ORDER = 10
NEEDS = {"first_errors": ("backbone", "label", "image", "budget", "kl")}
MOST = 16


def section(sheet: Sheet, frames: Mapping[str, pd.DataFrame]) -> Section | None:
    """The first broken image of each method of which the gallery has the tokens."""
    first = frames["first_errors"].drop_duplicates(["backbone", "label"])
    rows = sheet.run.gallery.sort_values("block").drop_duplicates(
        ["backbone", "label", "budget", "image"], keep="last"
    )
    joined = first.merge(rows, on=["backbone", "label", "budget", "image"], how="inner")
    joined = joined[joined["image"].isin(list(sheet.pictures))]
    if joined.empty or sheet.shape is None:
        return None
    order = {label: index for index, label in enumerate(sheet.labels)}
    joined = joined.sort_values(["backbone", "label"], key=lambda names: names.map(order).fillna(0))
    pictured, joined = joined, joined.head(MOST)
    found = [
        Break(
            row.label if len(sheet.houses) < 2 else f"{row.label}, {row.backbone}",
            budget_name(row.budget),
            sheet.pictures[int(row.image)],
            row.owner,
            (sheet.run.class_name(row.dense_prediction), percent(row.dense_confidence, 0)),
            (sheet.run.class_name(row.prediction), percent(row.confidence, 0)),
        )
        for row in joined.itertuples()
    ]
    table = pd.DataFrame(
        {
            "Method": joined["label"],
            "Backbone": joined["backbone"],
            "FLOPs removed": joined["budget"].map(budget_name),
            "Image": joined["image"],
            "True class": [sheet.run.class_name(row.label_true) for row in joined.itertuples()],
            "Dense": [f"{one.dense[0]} {one.dense[1]} %" for one in found],
            "Reduced": [f"{one.answer[0]} {one.answer[1]} %" for one in found],
        }
    )
    drawing = Drawing(
        "breaks",
        partial(broken, found, sheet.shape),
        "For each method a picture that the dense model names right and that it names wrong at the smallest budget at "
        "which it names any wrong; among those the one whose answer moved furthest. Left: the picture and the dense "
        "answer. Right: the tokens at the end, drawn as above, and the method's answer."
        + _absent(sheet, first, pictured),
        "Pairs of pictures, one pair for each method: the dense answer, and the first answer that is lost.",
    )
    return Section("breaks", "gallery", "Where each method breaks first", _sentence(first), (drawing,),
                   (Table("breaks", "The first lost answer of each method.", table),))  # fmt: skip


def _absent(sheet: Sheet, first: pd.DataFrame, pictured: pd.DataFrame) -> str:
    """Which methods have no pair of pictures, and why, of all `first` losses and those `pictured` in the gallery."""
    broken, known = _methods(sheet, first), _methods(sheet, pictured)
    reasons = {
        "of which the gallery does not hold that picture": [
            name for name in broken if name not in known
        ],
        "for which there is no room": _methods(sheet, pictured.iloc[MOST:]),
        "which lose no right answer": [
            name for name in _methods(sheet, sheet.run.gallery) if name not in broken
        ],
    }
    words = [f"{', '.join(names)}, {why}" for why, names in reasons.items() if names]
    return f" Not shown: {'; '.join(words)}." if words else ""


def _methods(sheet: Sheet, rows: pd.DataFrame) -> list[str]:
    """The methods of `rows` in drawing order, with their backbone where there are several."""
    pairs = rows[["backbone", "label"]].drop_duplicates().itertuples(index=False)
    there = sorted(pairs, key=lambda pair: sheet.labels.index(pair.label))
    return [
        pair.label if len(sheet.houses) < 2 else f"{pair.label} on {pair.backbone}"
        for pair in there
    ]


def _sentence(first: pd.DataFrame) -> str:
    smallest = first["budget"].min()
    early = first[first["budget"] == smallest]["label"].nunique()
    total = first["label"].nunique()
    if early == total:
        return f"Every method loses some right answers of the dense model at the smallest budget, {budget_name(smallest)}."
    return (
        f"{early} of {total} methods lose some right answers of the dense model at the smallest budget, "
        f"{budget_name(smallest)}; the last to do so holds out until {budget_name(first['budget'].max())}."
    )

"""Which pixels change: pictures with their classes, the loss of each class, and that at borders."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from reports.figures.segmentation import class_figure, segmented_figure
from reports.formatting import MISSING, budget_name, points
from reports.report_data import ReportData
from reports.run import sequence
from reports.section import Drawing, Frames, Section, Table, stored
from reports.style import DENSE, group
from reports.token_overlay import Pixels, decode_classes

NEEDS = stored("class_ious")
OPTIONAL = stored("segmented")
TRUTH, WHOLE = "truth", "none"  # labels of the truth, and of the dense model
COLUMNS = 8  # methods beside truth and dense model in a figure
CLASSES = 12  # classes that have a column each in the table
READING = (
    "Each row is a picture with the classes of its pixels: as they are, as the dense model names "
    "them, and under each method at the budget. White hatching marks the pixels that a method "
    "names otherwise than the dense model; below stands the mean IoU of the picture's own classes."
)
BY_CLASS = (
    "What each method loses of each class: the intersection over union of its pixels, added up "
    "over all images, less the dense model's, in points."
)
LOSSES = (
    "Mean IoU over all pixels, and over those within 2 % of the image's diagonal of another class; "
    "share of pixels named right; IoU weighted by the share of each class; IoU of each class."
)


def section(report: ReportData, frames: Frames) -> Section:
    """Build the pictures, the losses of the classes, and the table of all figures."""
    rows = frames["class_ious"]
    classes = [str(name) for name in sequence(report.run.dataset.get("classes"))]
    figures: list[Drawing] = []
    for backbone in report.backbones:
        own = rows[rows["backbone"] == backbone]
        budgets = report.budgets_of(own)
        if not budgets:
            continue
        budget = report.focus(own)
        several = len(report.backbones) > 1
        stem = f"-{backbone}".replace("_", "-").lower() if several else ""
        shown = own[own["budget"].isna() | (own["budget"] == budget)]
        labels = [label for label in report.ordered(shown) if group(label) != DENSE]
        titles = {label: report.title(label) for label in labels}
        if "segmented" in frames:
            drawing = _pictures(
                report, frames["segmented"], backbone, budget, titles, classes, stem
            )
            figures += [drawing] if drawing else []
        caption = f"{BY_CLASS} {budget_name(budget)} of FLOPs removed."
        figures.append(
            Drawing(
                f"class-loss{stem}",
                partial(class_figure, shown, titles, classes),
                caption,
                "Table of methods and classes, coloured by the loss of intersection over union.",
                backbone=backbone if several else "",
            )
        )
    return Section(
        key="segmentation",
        part="answer",
        title="Which pixels change",
        sentence=_sentence(report),
        figures=tuple(figures),
        tables=(_table(report, rows, classes),),
    )


def _pictures(
    report: ReportData,
    rows: pd.DataFrame,
    backbone: str,
    budget: float,
    titles: dict[str, str],
    classes: list[str],
    stem: str,
) -> Drawing | None:
    """The figure of one backbone at one budget; None without a legible picture."""
    own = rows[(rows["backbone"] == backbone) & (rows["seed"] == 0)]
    own = own[own["budget"].isna() | (own["budget"] == budget)]
    maps: dict[tuple[int, str], tuple[Pixels, float]] = {}
    for row in own.itertuples():
        named = decode_classes(row.png)
        if named is not None:
            maps[int(row.image), str(row.label)] = named, float(row.image_miou)
    known = {image for image, label in maps if label == WHOLE and (image, TRUTH) in maps}
    pictures = {image: pixels for image, pixels in report.pictures.items() if image in known}
    if not pictures:
        return None
    shown = dict(list(titles.items())[:COLUMNS])
    columns = {TRUTH: "truth", WHOLE: "dense", **shown}
    caption = f"{READING} {budget_name(budget)} of FLOPs removed."
    if len(titles) > len(shown):
        caption += f" The first {len(shown)} of {len(titles)} methods."
    return Drawing(
        f"segmented{stem}",
        partial(segmented_figure, maps, pictures, columns, classes),
        caption,
        "Pictures beside the classes of their pixels: the truth, the dense model, each method.",
        backbone=backbone if stem else "",
    )


def _sentence(report: ReportData) -> str:
    """What the best method of each backbone loses over all pixels, and near borders."""
    parts = []
    for backbone in report.backbones:
        cells = report.frame[report.frame["backbone"] == backbone]
        budgets = report.budgets_of(cells)
        dense = cells[cells["method"] == "none"]
        if not budgets or dense.empty:
            continue
        budget = report.focus(cells)
        at = cells[(cells["budget"] == budget) & ~cells["method"].isin(["downsample"])]
        best = at.loc[at["miou"].idxmax()]
        whole = float(best["miou"] - dense["miou"].iloc[0])
        near = float(best["border_miou"] - dense["border_miou"].iloc[0])
        best_of = f"{report.title(best['label'])} on {backbone}"
        parts.append(
            f"{best_of}, {budget_name(budget)} of FLOPs removed: mean IoU "
            f"{points(whole)} points over all pixels, {points(near)} near the borders of objects, "
            "beside the dense model."
        )
    return " ".join(parts) or "Nothing was removed, so that no pixel changes."


def _table(report: ReportData, rows: pd.DataFrame, classes: list[str]) -> Table:
    """All figures of every method at every budget; the classes where they are few."""
    place = ["backbone", "label", "budget"]
    heads = {
        "label": "Method",
        "backbone": "Backbone",
        "budget": "FLOPs removed",
        "miou": "mIoU, %",
        "border_miou": "At borders, %",
        "pixel_accuracy": "Pixels right, %",
        "frequency_iou": "Weighted IoU, %",
    }
    frame = report.frame[list(heads)].copy()
    shares = [name for name in heads if name not in place]
    frame[shares] *= 100
    frame["budget"] = frame["budget"].map(budget_name)
    if len(classes) <= CLASSES:
        ious = {}
        for row in rows.itertuples():
            key = row.backbone, row.label, budget_name(row.budget), row.class_number
            ious[key] = 100 * row.class_iou
        for number, name in enumerate(classes):
            keys = zip(frame["backbone"], frame["label"], frame["budget"], strict=True)
            frame[name] = [ious.get((*key, number), np.nan) for key in keys]
    frame["label"] = frame["label"].replace("none", "dense")
    frame["budget"] = frame["budget"].replace("dense", MISSING)
    digits = dict.fromkeys([*heads.values(), *classes], 1)
    return Table("segmentation", LOSSES, frame.rename(columns=heads), digits)

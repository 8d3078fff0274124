"""Retraining: what of a method's loss is won back by training under it, and at what price."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd

from reports.figures.recovery import recovery_figure
from reports.figures.retrained import retrained_figure
from reports.formatting import budget_name, interval, percent, present
from reports.report_data import ReportData
from reports.section import Drawing, Frames, Section, Table, scaled_table, stored
from suite.stats.correctness import counted
from suite.stats.rate_words import rates_answer
from suite.stats.recovery_words import budget_words, recovery_answer, tested_elsewhere
from suite.stats.retrained_words import contrast_words, order_words

NEEDS = stored("retrained")
OPTIONAL = stored(
    "retrained_contrasts", "retrained_ranking", "retraining_curve", "retraining_rates"
)
HEADS = {
    "backbone": "Backbone",
    "label": "Method",
    "budget": "Budget, %",
    "removed": "FLOPs removed, %",
    "top1_before": "As the weights came, %",
    "top1": "Retrained, %",
    "difference": "Gain, points",
    "difference_low": "from",
    "difference_high": "to",
    "won_back": "Won back, % of the loss",
    "won_back_low": "at least, %",
    "won_back_high": "at most, %",
    "behind": "Behind the control, points",
    "behind_low": "behind from",
    "behind_high": "behind to",
    "whole_top1": "Retrained, without reduction, %",
    "trained_images": "Images seen",
    "trained_budgets": "Trained at",
    "training": "Training",
}
TEXTS = {"backbone", "label", "trained_budgets", "training"}
COUNTS = {"trained_images"}
CURVE = {
    "training": "Training",
    "epoch": "Epoch",
    "loss": "Loss, nats",
    "trained_top1": "Top-1 on the training images, %",
}
CONTRASTS = {
    "label": "Method",
    "reference": "Other",
    "setting": "Choice",
    "backbone": "Backbone",
    "budget": "FLOPs removed, %",
    "difference_before": "Without training, points",
    "before_low": "from",
    "before_high": "to",
    "difference": "Retrained, points",
    "difference_low": "difference from",
    "difference_high": "difference to",
    "p_holm": "p (Holm)",
    "change": "Change, points",
    "change_low": "change from",
    "change_high": "change to",
}
RATES = {
    "training": "Training",
    "learning_rate": "Learning rate",
    "held_out_loss": "Loss on held-out images, nats",
    "held_out_top1": "Top-1 on them, %",
    "picked": "Kept",
}
READING = (
    "A method's loss is the whole model's top-1 less the method's, with the weights as they came; "
    "won back is the share of it that training under the method gains. More training helps a whole "
    "model, too: the control is trained alike on the same images, and what a method stays behind "
    "it is what the reduction still costs. Intervals are paired, of 95 %, and not corrected; that "
    "of a share is Fieller's."
)


def section(report: ReportData, frames: Frames) -> Section:
    """Build the figure of hollow and filled marks, and the tables of results and curves."""
    rows = frames["retrained"]
    figures = []
    for backbone, part in rows.groupby("backbone", sort=False):
        # The control has no budget, and alone no line to draw.
        if part["budget"].notna().any():
            figures.append(_figure(report, str(backbone), part))
        own = part[~part.apply(tested_elsewhere, axis=1)]
        if own["trained_images"].nunique() > 1:
            figures.append(_recovery(report, str(backbone), own))
    sentences = [_sentence(row, report.run.kind) for row in rows.to_dict("records")]
    tables = [_table(rows)]
    if "retrained_contrasts" in frames:
        contrasts = frames["retrained_contrasts"]
        tables.append(_contrasts(contrasts))
        for row in contrasts.to_dict("records"):
            sentences.append(contrast_words(row, report.title))
    if "retrained_ranking" in frames:
        sentences += map(order_words, frames["retrained_ranking"].to_dict("records"))
    if "retraining_curve" in frames:
        tables.append(_curves(frames["retraining_curve"]))
    if "retraining_rates" in frames:
        tables.append(_rates(frames["retraining_rates"]))
        sentences.append(rates_answer(frames["retraining_rates"].to_dict("records")))
    return Section(
        key="retrained",
        part="answer",
        title="What does retraining win back?",
        sentence=recovery_answer(rows.to_dict("records"), report.title),
        figures=tuple(figures),
        tables=tuple(tables),
        notes=(*sentences, *_without_share(rows), READING),
    )


def _figure(report: ReportData, backbone: str, rows: pd.DataFrame) -> Drawing:
    several = len(report.backbones) > 1
    return Drawing(
        f"retrained-{report.backbones.index(backbone)}" if several else "retrained",
        partial(retrained_figure, rows, report.looks, backbone if several else ""),
        "Top-1 of each method with the weights as they came (hollow) and retrained under it "
        "(filled, with its 95 % interval), beside the whole model and the whole model trained "
        "alike.",
        f"Top-1 before and after retraining on {backbone}, a line for each method.",
        backbone=backbone,
    )


def _recovery(report: ReportData, backbone: str, rows: pd.DataFrame) -> Drawing:
    several = len(report.backbones) > 1
    return Drawing(
        f"recovery-{report.backbones.index(backbone)}" if several else "recovery",
        partial(recovery_figure, rows, report.looks, backbone if several else ""),
        "Top-1 of each method against the images that a training under it saw, beside the whole "
        "model trained on as many. Each point is a training of its own.",
        f"Top-1 on {backbone} against training images seen, a line for each method.",
        backbone=backbone,
    )


def _sentence(row: dict[Any, Any], kind: str) -> str:
    """What became of one method, or of the control."""
    images = counted(int(row["images"]), kind)
    seen = f"{int(row['trained_images']):,} training images"
    ends = interval(row["difference_low"], row["difference_high"], signed=True)
    change = (
        f"{percent(row['top1_before'])} to {percent(row['top1'])} % of {images} ({ends} points)"
    )
    # Only the control has no budget: it is trained alike, without a reduction.
    if not present(row["budget"]):
        return f"The control on {row['backbone']}, after {seen}: {change}."
    at = budget_name(row["budget"])
    if tested_elsewhere(row):
        at += f", trained at {budget_words(row['trained_budgets'])}"
    return f"{row['label']} on {row['backbone']} at {at}, after {seen}: {change}."


def _without_share(rows: pd.DataFrame) -> list[str]:
    """Why some methods have no share that was won back, in a sentence; none if all have one."""
    empty = rows[rows["budget"].notna() & rows["won_back"].isna()]
    if empty.empty:
        return []
    names = []
    for row in empty.to_dict("records"):
        names.append(f"{row['label']} on {row['backbone']} at {budget_name(row['budget'])}")
    return [
        "No share won back is given where these images do not show that the method loses anything "
        f"with the weights as they came: {', '.join(dict.fromkeys(names))}."
    ]


def _table(rows: pd.DataFrame) -> Table:
    trained = [budget_words(budgets) if budgets else "" for budgets in rows["trained_budgets"]]
    # Stored under the label of the dense model, which it is not any more.
    labels = rows["label"].where(rows["budget"].notna(), "control")
    named = rows.assign(label=labels, trained_budgets=trained)
    frame = scaled_table(named, HEADS, set(HEADS) - TEXTS - COUNTS)
    digits = {}
    for name, head in HEADS.items():
        if name not in TEXTS:
            digits[head] = 0 if name in COUNTS else 1
    caption = "Top-1 with the weights as they came and retrained, and the price of each training."
    return Table("retrained", caption, frame, digits)


def _curves(rows: pd.DataFrame) -> Table:
    # A loss is in nats: only the share becomes per cent.
    frame = scaled_table(rows, CURVE, {"trained_top1"})
    digits = {CURVE["epoch"]: 0, CURVE["trained_top1"]: 1}
    return Table("retraining-curve", "Loss and top-1 of each epoch of training.", frame, digits)


def _rates(rows: pd.DataFrame) -> Table:
    named = rows.assign(picked=["yes" if picked else "" for picked in rows["picked"]])
    # Rates may be of any size: every digit of them says more than few decimals.
    named["learning_rate"] = [f"{rate:g}" for rate in rows["learning_rate"]]
    frame = scaled_table(named, RATES, {"held_out_top1"})
    caption = (
        "Loss and top-1 of each learning rate on training images that were held out. The training "
        "at the rate of the least loss is kept as it is."
    )
    return Table("retraining-rates", caption, frame, {RATES["held_out_top1"]: 1})


def _contrasts(rows: pd.DataFrame) -> Table:
    shares = set(CONTRASTS) - {"label", "reference", "setting", "backbone", "p_holm"}
    frame = scaled_table(rows, CONTRASTS, shares)
    caption = (
        "Two settings of one method that differ in one choice: top-1 of the first less that of the "
        "second, with the weights as they came and with those trained under each."
    )
    return Table("retrained-contrasts", caption, frame, {CONTRASTS[name]: 1 for name in shares})

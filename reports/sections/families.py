"""Mamba beside attention: the same reduction on backbones of both families."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pandas as pd

from reports import aggregate
from reports.figures.families import families_figure
from reports.formatting import budget_name, interval, percent
from reports.formatting import points as signed_points
from reports.report_data import ReportData
from reports.section import Drawing, Section, Table, scaled_table
from reports.style import PLAIN, group

NEEDS = {
    "mamba_vs_attention": (
        "backbone",
        "mixer",
        "method",
        "budget",
        "removed",
        "images",
        "seeds",
        "dense_top1",
        "kept",
        "kept_low",
        "kept_high",
    ),
    "mamba_minus_attention": (
        "method",
        "budget",
        "backbone",
        "against",
        "difference",
        "difference_low",
        "difference_high",
    ),
}
# Columns of the two tables and their heads; an interval follows its value.
KEPT_HEADS = {
    "method": "Method",
    "backbone": "Backbone",
    "mixer": "Family",
    "budget": "Budget, %",
    "removed": "FLOPs removed, %",
    "kept": "Accuracy kept, %",
    "kept_low": "from",
    "kept_high": "to",
    "dense_top1": "Dense top-1, %",
    "seeds": "Seeds",
}
CONTRAST_HEADS = {
    "method": "Method",
    "budget": "Budget, %",
    "backbone": "Mamba",
    "against": "Attention",
    "difference": "Difference, points",
    "difference_low": "from",
    "difference_high": "to",
}
# Heads that either table has.
DIGITS = {
    "Budget, %": 0,
    "FLOPs removed, %": 1,
    "Accuracy kept, %": 1,
    "Difference, points": 1,
    "from": 1,
    "to": 1,
    "Dense top-1, %": 1,
    "Seeds": 0,
}
READING = (
    "Top-1 as a share of the same backbone's dense top-1, against the share of its own FLOPs that "
    "was removed; shaded: 95 % intervals over images, for stochastic methods their envelope over "
    "seeds. Each method has its own form on each family: on attention ToMe and EViT read keys and "
    "class-token attention between attention and MLP, on a scan their counterparts. Only methods "
    "that ran on all backbones are drawn."
)
ALT = (
    "Share of dense accuracy kept against share of FLOPs removed; one panel a method, one line a "
    "backbone."
)


def section(report: ReportData, frames: Mapping[str, pd.DataFrame]) -> Section | None:
    """Build the figure, its tables, and a sentence for each method."""
    kept, contrasts = frames["mamba_vs_attention"], frames["mamba_minus_attention"]
    # Sentences are about one budget; the figure and the tables have all.
    budget = aggregate.focus(sorted(kept["budget"].unique()))
    methods = list(kept["method"].unique())
    sentences = {method: _sentence(method, budget, kept, contrasts) for method in methods}
    # The section opens with a method that chooses, not with a blind baseline.
    choosing = [method for method in methods if group(method) != PLAIN] or methods
    # That method may lack this budget.
    first = sentences[choosing[0]] or READING
    notes = [text for text in sentences.values() if text not in ("", first)]
    return Section(
        key="families",
        part="why",
        title="Mamba beside attention",
        sentence=first,
        figures=(Drawing("families", partial(families_figure, kept), READING, ALT),),
        tables=(_kept_table(kept), _contrast_table(contrasts)),
        notes=(*notes, *_missing(report, methods)),
    )


def _sentence(method: str, budget: float, kept: pd.DataFrame, contrasts: pd.DataFrame) -> str:
    """Say what accuracy a method keeps on each backbone, and how the families differ."""
    rows = kept[(kept["method"] == method) & (kept["budget"] == budget)]
    if rows.empty:
        return ""
    shares = []
    for row in rows.itertuples():
        bounds = interval(row.kept_low, row.kept_high)
        shares.append(f"{percent(row.kept)} % of its dense top-1 on {row.backbone} {bounds}")
    # One row per Mamba backbone and attention backbone.
    pairs = contrasts[(contrasts["method"] == method) & (contrasts["budget"] == budget)]
    gaps = []
    for row in pairs.itertuples():
        bounds = interval(row.difference_low, row.difference_high, signed=True)
        gap = signed_points(row.difference)
        gaps.append(f"{row.backbone} against {row.against} {gap} points {bounds}")
    return (
        f"With {budget_name(budget)} of FLOPs removed, {method} keeps {', '.join(shares)}; "
        f"{'; '.join(gaps)}."
    )


def _missing(report: ReportData, methods: list[str]) -> list[str]:
    """Name the methods that did not run everywhere, with the first skipped cell's reason."""
    # A method is drawn only if it ran on all backbones, or the panels could not be compared.
    cells = report.run.cells
    skipped = cells[(cells["status"] != "ok") & (cells["reason"] != "")]
    skipped = skipped[~skipped["spec"].isin(methods)].drop_duplicates(["spec", "backbone"])
    notes = []
    for row in skipped.itertuples():
        reason = row.reason
        # Reasons are predicates of the method, or else a clause of their own.
        if not reason.startswith(("needs", "cannot", "hands")):
            reason = f"was not run ({reason})"
        notes.append(f"Not drawn: {row.spec}, because on {row.backbone} it {reason}.")
    return notes


def _kept_table(kept: pd.DataFrame) -> Table:
    # Stored as fractions.
    percentages = {"budget", "removed", "kept", "kept_low", "kept_high", "dense_top1"}
    return Table(
        "families",
        f"Accuracy kept, {int(kept['images'].max()):,} images: top-1 over the same backbone's "
        "dense top-1.",
        scaled_table(kept, KEPT_HEADS, percentages),
        DIGITS,
    )


def _contrast_table(contrasts: pd.DataFrame) -> Table:
    # Differences of fractions, shown in points.
    percentages = {"budget", "difference", "difference_low", "difference_high"}
    return Table(
        "family-contrasts",
        "Accuracy kept by Mamba less that kept by attention, in points of a share; the same images "
        "for both.",
        scaled_table(contrasts, CONTRAST_HEADS, percentages),
        DIGITS,
    )

"""Whether methods that keep the same tokens give the same answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from reports.figures.similarity import alike_together, by_block, link, matrix, pairs_table
from reports.formatting import budget_name, number, p_value
from reports.report_data import ReportData
from reports.section import Drawing, Maps, Section, Table
from reports.style import DENSE, PLAIN

NEEDS = {
    "token_overlap": (
        "backbone",
        "budget",
        "one",
        "other",
        "block",
        "iou",
        "chance",
        "correlation",
    ),
    "method_similarity": (
        "backbone",
        "budget",
        "one",
        "other",
        "survival",
        "kappa",
        "agree",
        "images",
    ),
}
OPTIONAL = {"mantel_test": ("backbone", "budget", "methods", "rho", "p")}
# Columns of the table and their heads.
HEADS = {
    "one": "Method",
    "other": "and",
    "backbone": "Backbone",
    "budget": "FLOPs removed",
    "survival": "Choose alike",
    "agree": "Answer alike",
    "kappa": "Kappa",
    "images": "Images watched",
}
# Below, the correlation of keeping alike with answering alike is called significant.
LEVEL = 0.05
KEPT_NOTE = (
    "A token counts as kept while it survives under its own position: one that was merged into "
    "another does not. Of a stochastic method the first seed is compared."
)


@dataclass(frozen=True)
class Pairs:
    """The pairs of methods of one backbone at one budget.

    ``pairs``   a row per pair
    ``layers``  a row per pair and block
    ``title``   of the figures: the backbone and the budget
    ``suffix``  of the figures' file stems, empty on a page of one backbone
    """

    pairs: pd.DataFrame
    layers: pd.DataFrame
    title: str
    suffix: str


def section(report: ReportData, frames: Mapping[str, pd.DataFrame]) -> Section:
    """Build the figures of overlap at one budget per backbone, and its link to the answers."""
    pairs, layers = frames["method_similarity"], frames["token_overlap"]
    # The test needs permutations of several methods: short comparisons have none.
    no_links = pd.DataFrame(columns=list(OPTIONAL["mantel_test"]))
    links = frames.get("mantel_test", no_links)
    budget = report.focus(pairs)
    drawings: list[Drawing] = []
    for backbone in pairs["backbone"].unique():
        suffix = ""
        # Numbered, since a backbone's name may have characters that file names must not have.
        if len(report.backbones) > 1:
            suffix = f"-{report.backbones.index(backbone) + 1}"
        part = Pairs(
            pairs=_at(pairs, backbone, budget),
            layers=_at(layers, backbone, budget),
            title=f"{backbone}, {budget_name(budget)} of FLOPs removed",
            suffix=suffix,
        )
        drawings += _drawings(report, part)
    return Section(
        key="similarity",
        part="why",
        title="Do methods keep the same tokens?",
        sentence=_sentence(pairs, links, budget),
        figures=tuple(drawings),
        tables=(_table(pairs),),
        notes=_notes(links),
    )


def _at(frame: pd.DataFrame, backbone: str, budget: float) -> pd.DataFrame:
    return frame[(frame["backbone"] == backbone) & (frame["budget"] == budget)]


def _drawings(report: ReportData, part: Pairs) -> list[Drawing]:
    """Return the table of pairs, the lines by block, and the dots of answers against tokens."""
    # Labels in the order of the page, without the dense model, which keeps all tokens.
    compared = set(part.pairs["one"]) | set(part.pairs["other"])
    labels = [label for label in report.labels if label in compared]
    drawings = [_pairs_figure(report, part, labels), _block_figure(report, part, labels)]
    # Two dots would always lie on a line.
    if len(part.pairs.dropna(subset=["survival", "kappa"])) > 2:
        answers = Drawing(
            f"similarity-answers{part.suffix}",
            partial(link, part.pairs, part.title),
            "A dot for each pair of methods. If choosing alike made methods answer alike, the dots "
            "would rise to the right.",
            "Scatter of pairs of methods: agreement in answers against agreement in kept tokens.",
        )
        drawings.append(answers)
    return drawings


def _pairs_figure(report: ReportData, part: Pairs, labels: list[str]) -> Drawing:
    # Groups of alike methods become squares on the diagonal.
    order = alike_together(matrix(part.pairs, labels, "survival"), labels)
    blocks = sorted(int(block) for block in part.layers["block"].unique())
    # The slider shows the pairs block by block, the figure over all blocks.
    by_layer = []
    for block in blocks:
        rows = part.layers[part.layers["block"] == block]
        by_layer.append(matrix(rows, order, "correlation"))
    maps = Maps(
        rows=("kept alike",),
        layers=tuple(blocks),
        # One row of maps.
        values=np.stack(by_layer)[None],
        unit="correlation of the kept sets, 0 as by chance",
        diverging=True,
        names=tuple(order),
    )
    survival = matrix(part.pairs, order, "survival")
    looks = {label: report.looks[label] for label in order}
    return Drawing(
        f"similarity{part.suffix}",
        partial(pairs_table, survival, order, looks, part.title),
        "Red pairs keep the same tokens, blue ones opposite tokens, and pale ones are unrelated. "
        "Alike methods are side by side.",
        "Table of all pairs of methods, coloured by the correlation of the tokens they keep.",
        maps,
    )


def _block_figure(report: ReportData, part: Pairs, labels: list[str]) -> Drawing:
    """Return the lines of all methods' overlap with one, the first that does not choose blindly."""
    informed = [label for label in labels if report.looks[label].group not in (DENSE, PLAIN)]
    # With blind baselines alone any of them will do.
    reference = (informed or labels)[0]
    layers = part.layers
    rows = layers[(layers["one"] == reference) | (layers["other"] == reference)]
    looks = {label: report.looks[label] for label in labels}
    return Drawing(
        f"similarity-blocks{part.suffix}",
        partial(by_block, rows, reference, looks, part.title),
        f"How far the tokens that each method keeps are those that {reference} keeps, block by "
        "block: 1 the same, 0 as by chance.",
        "One line for each method: the correlation of its kept tokens with those of "
        f"{reference}, by block.",
    )


def _table(pairs: pd.DataFrame) -> Table:
    named = pairs.assign(budget=pairs["budget"].map(budget_name))
    return Table(
        "similarity",
        "How alike methods choose and answer. Choose: Spearman's correlation of how many blocks "
        "each token survives, within an image, mean over images. Answer: the share of images on "
        "which both are right or both wrong, and Cohen's kappa, which removes the agreement "
        "expected from their accuracies alone.",
        named[list(HEADS)].rename(columns=HEADS),
        {"Choose alike": 2, "Answer alike": 2, "Kappa": 2},
    )


def _sentence(pairs: pd.DataFrame, links: pd.DataFrame, budget: float) -> str:
    # Where a method removes nothing, all its tokens survive alike, and nothing correlates.
    compared = pairs[(pairs["budget"] == budget)].dropna(subset=["survival"])
    if compared.empty:
        return "The tokens that the methods keep could not be compared: nothing was removed."
    most = compared.loc[compared["survival"].idxmax()]
    least = compared.loc[compared["survival"].idxmin()]
    text = (
        f"At {budget_name(budget)} of FLOPs removed {most['one']} and {most['other']} keep the "
        f"most alike tokens (rank correlation {number(most['survival'], 2)})"
    )
    # Of a single pair the most alike are the least alike, too.
    if len(compared) > 1:
        least_alike = number(least["survival"], 2)
        text += f", {least['one']} and {least['other']} the least ({least_alike})"
    verdicts = [_verdict(row) for row in links[links["budget"] == budget].to_dict("records")]
    return " ".join([f"{text}.", *verdicts])


def _verdict(row: Mapping[Any, Any]) -> str:
    """Say whether keeping alike tokens goes with answering alike on a backbone."""
    # A negative correlation, however clear, is no sign that alike methods answer alike.
    significant = row["p"] < LEVEL and row["rho"] > 0
    verb = "does" if significant else "was not shown to"
    return (
        f"Keeping alike tokens {verb} go with being right on the same images on "
        f"{row['backbone']}: across the pairs of {int(row['methods'])} methods the two correlate "
        f"by {number(row['rho'], 2)} (p {p_value(row['p'])})."
    )


def _notes(links: pd.DataFrame) -> tuple[str, ...]:
    if links.empty:
        return (KEPT_NOTE,)
    results = []
    for row in links.to_dict("records"):
        correlation = f"{number(row['rho'], 2)} (p {p_value(row['p'])})"
        results.append(f"{row['backbone']} {budget_name(row['budget'])}: {correlation}")
    test = (
        "Choosing alike against answering alike, Spearman's correlation over pairs with Mantel's "
        f"permutation test (methods are permuted, since pairs share them): {'; '.join(results)}."
    )
    return KEPT_NOTE, test

"""Whether methods that keep the same tokens give the same answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from reports.aggregate import blocks_of
from reports.figures.similarity import alike_together, by_block, link, matrix, pairs_table
from reports.formatting import budget_name, number, p_value
from reports.report_data import ReportData
from reports.run import Run
from reports.section import Drawing, Frames, Maps, Section, Table, stored
from reports.sensitivity_common import select_rows
from reports.style import DENSE, PLAIN, group
from suite.stats.correctness import counted

NEEDS = stored("token_overlap", "method_similarity")
OPTIONAL = stored("mantel_test")
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
# What answering alike is measured by, on an axis and within a sentence.
ANSWERED = {
    "classification": "kappa of right answers",
    "segmentation": "concordance of the images' mean IoU",
}
ALIKE_ON = {"classification": "right on the same", "segmentation": "good at the same"}
# Below, the correlation of keeping alike with answering alike is called significant.
LEVEL = 0.05
# Below, in size, no correlation of two methods is worth a figure.
ALIKE = 0.25
KEPT_NOTE = (
    "A token counts as kept while it survives under its own position: one that was merged into "
    "another does not. Of a stochastic method the first seed is compared."
)


def section(report: ReportData, frames: Frames) -> Section:
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
        at = {"backbone": backbone, "budget": budget}
        shown, kept = select_rows(pairs, **at), select_rows(layers, **at)
        title = f"{backbone}, {budget_name(budget)} of FLOPs removed"
        drawn = _drawings(report, shown, kept, title, suffix)
        drawings += [replace(drawing, backbone=str(backbone)) for drawing in drawn]
    return Section(
        key="similarity",
        part="why",
        title="Do methods keep the same tokens?",
        sentence=_sentence(pairs, links, budget, report.run),
        figures=tuple(drawings),
        tables=(_table(pairs, report.run),),
        notes=_notes(links),
        brief=_brief(report, pairs, budget),
        nothing=_nothing(pairs, budget),
    )


def _brief(report: ReportData, pairs: pd.DataFrame, budget: float) -> str:
    """The most and the least alike methods of each backbone, in few words."""
    parts = []
    for backbone, rows in pairs[pairs["budget"] == budget].groupby("backbone", sort=False):
        compared = rows.dropna(subset=["survival"])
        if compared.empty:
            continue
        most = compared.loc[compared["survival"].idxmax()]
        names = f"{report.title(most['one'])} and {report.title(most['other'])}"
        where = f"{backbone}: " if pairs["backbone"].nunique() > 1 else ""
        share = number(most["survival"], 2)
        parts.append(f"{where}{names} keep the most alike tokens, rank correlation {share}.")
    return " ".join(parts)


def _nothing(pairs: pd.DataFrame, budget: float) -> str:
    """That no method that chooses keeps another's tokens, but blind ones; empty if some do."""
    rows = pairs[pairs["budget"] == budget].dropna(subset=["survival"])
    # Blind baselines share what is fixed beforehand, which says nothing of a choice.
    blind = [
        group(str(one)) == group(str(two)) == PLAIN
        for one, two in rows[["one", "other"]].to_numpy()
    ]
    both_blind = np.array(blind, dtype=bool)
    chosen = rows[~both_blind]["survival"]
    if chosen.empty or chosen.abs().max() >= ALIKE:
        return ""
    low, high = number(chosen.min(), 2), number(chosen.max(), 2)
    words = "No method that looks at the image keeps another's: "
    words += f"its rank correlations with all others are {low} to {high}."
    fixed = rows[both_blind]["survival"]
    if fixed.empty:
        return words
    low, high = number(fixed.min(), 2), number(fixed.max(), 2)
    among = f"{high}" if low == high else f"{low} to {high}"
    return f"{words} Among the baselines that never look: {among}."


def _drawings(
    report: ReportData, pairs: pd.DataFrame, layers: pd.DataFrame, title: str, suffix: str
) -> list[Drawing]:
    """Return the table of pairs, the lines by block, and the dots of answers against tokens."""
    # Without the dense model, which keeps all tokens.
    labels = report.sorted([*pairs["one"], *pairs["other"]])
    # Groups of alike methods become squares on the diagonal.
    order = alike_together(matrix(pairs, labels, "survival"), labels)
    blocks = blocks_of(layers)
    # The slider shows the pairs block by block, the figure over all blocks.
    by_layer = []
    for block in blocks:
        by_layer.append(matrix(layers[layers["block"] == block], order, "correlation"))
    maps = Maps(
        rows=("kept alike",),
        layers=tuple(blocks),
        # One row of maps.
        values=np.stack(by_layer)[None],
        unit="correlation of the kept sets, 0 as by chance",
        diverging=True,
        names=tuple(report.title(label) for label in order),
    )
    table = Drawing(
        f"similarity{suffix}",
        partial(pairs_table, matrix(pairs, order, "survival"), order, report.looks, title),
        "Red pairs keep the same tokens, blue ones opposite tokens, and pale ones are unrelated. "
        "Alike methods are side by side.",
        "Table of all pairs of methods, coloured by the correlation of the tokens they keep.",
        maps,
    )
    # All are compared with one, the first that does not choose blindly if there is any.
    informed = [label for label in labels if report.looks[label].group not in (DENSE, PLAIN)]
    reference = (informed or labels)[0]
    theirs = report.title(reference)
    rows = layers[(layers["one"] == reference) | (layers["other"] == reference)]
    lines = Drawing(
        f"similarity-blocks{suffix}",
        partial(by_block, rows, reference, report.looks, title),
        f"How far the tokens that each method keeps are those that {theirs} keeps, block by "
        "block: 1 the same, 0 as by chance.",
        "One line for each method: the correlation of its kept tokens with those of "
        f"{theirs}, by block.",
    )
    # Two dots would always lie on a line.
    if len(pairs.dropna(subset=["survival", "kappa"])) < 3:
        return [table, lines]
    answers = Drawing(
        f"similarity-answers{suffix}",
        partial(link, pairs, report.looks, title, ANSWERED[report.run.task]),
        "A dot for each pair of methods. If choosing alike made methods answer alike, the dots "
        "would rise to the right.",
        "Scatter of pairs of methods: agreement in answers against agreement in kept tokens.",
    )
    return [table, lines, answers]


def _table(pairs: pd.DataFrame, run: Run) -> Table:
    named = pairs.assign(budget=pairs["budget"].map(budget_name))
    kind, heads = run.kind, HEADS
    answer = (
        f"the share of {kind} on which both are right or both wrong, and Cohen's kappa, which "
        "removes the agreement expected from their accuracies alone"
    )
    if run.task == "segmentation":
        heads = HEADS | {"kappa": "Concordance"}
        answer = (
            f"1 less how far the mean IoU of the {kind} is apart, mean over these, and Lin's "
            "concordance of it, which is Cohen's kappa where an answer is right or wrong"
        )
    return Table(
        "similarity",
        "How alike methods choose and answer. Choose: Spearman's correlation of how many blocks "
        f"each token survives, within an image, mean over {kind}. Answer: {answer}.",
        named[list(heads)].rename(columns=heads),
        {"Choose alike": 2, "Answer alike": 2, heads["kappa"]: 2},
    )


def _sentence(pairs: pd.DataFrame, links: pd.DataFrame, budget: float, run: Run) -> str:
    # Where a method removes nothing, all its tokens survive alike, and nothing correlates.
    compared = pairs[(pairs["budget"] == budget)].dropna(subset=["survival"])
    if compared.empty:
        return "The tokens that the methods keep could not be compared: nothing was removed."
    most = compared.loc[compared["survival"].idxmax()]
    least = compared.loc[compared["survival"].idxmin()]
    text = (
        f"On {counted(int(compared['images'].max()), run.kind)}, at {budget_name(budget)} of FLOPs "
        f"removed, {most['one']} and {most['other']} keep the most alike tokens (rank correlation "
        f"{number(most['survival'], 2)})"
    )
    # Of a single pair the most alike are the least alike, too.
    if len(compared) > 1:
        least_alike = number(least["survival"], 2)
        text += f", {least['one']} and {least['other']} the least ({least_alike})"
    rows = links[links["budget"] == budget].to_dict("records")
    verdicts = [_verdict(row, run) for row in rows]
    return " ".join([f"{text}.", *verdicts])


def _verdict(row: Mapping[Any, Any], run: Run) -> str:
    """Say whether keeping alike tokens goes with answering alike on a backbone."""
    # A negative correlation, however clear, is no sign that alike methods answer alike.
    significant = row["p"] < LEVEL and row["rho"] > 0
    verb = "does" if significant else "was not shown to"
    return (
        f"Keeping alike tokens {verb} go with being {ALIKE_ON[run.task]} {run.kind} on "
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

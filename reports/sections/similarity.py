"""Whether methods that keep the same tokens give the same answers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from reports.figures.similarity import alike_together, by_block, link, matrix, pairs_table
from reports.formatting import budget_name, number, p_value
from reports.report_data import Sheet
from reports.section import Drawing, Maps, Section, Table
from reports.style import DENSE, PLAIN

ORDER = 40
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


def section(sheet: Sheet, frames: Mapping[str, pd.DataFrame]) -> Section:
    """The overlap of kept tokens at one budget, for each backbone, and what it says of the answers."""
    pairs, layers = frames["method_similarity"], frames["token_overlap"]
    links = frames.get("mantel_test", pd.DataFrame(columns=[*OPTIONAL["mantel_test"]]))
    budget = sheet.focus(pairs)
    drawings: list[Drawing] = []
    for house in dict.fromkeys(pairs["backbone"]):
        of = f"{house}, {budget_name(budget)} of FLOPs removed"
        drawings += _drawings(
            sheet, _at(pairs, house, budget), _at(layers, house, budget), of, house
        )
    table = Table(
        "similarity",
        "How alike methods choose and answer. Choose: Spearman's correlation of how many blocks each token survives, "
        "within an image, mean over images. Answer: the share of images on which both are right or both wrong, and "
        "Cohen's kappa of it, which takes out what their accuracies alone would give.",
        pairs.assign(budget=pairs["budget"].map(budget_name)).rename(
            columns={"one": "Method", "other": "and", "backbone": "Backbone", "budget": "FLOPs removed",
                     "survival": "Choose alike", "agree": "Answer alike", "kappa": "Kappa", "images": "Images watched"}
        )[["Method", "and", "Backbone", "FLOPs removed", "Choose alike", "Answer alike", "Kappa", "Images watched"]],
        {"Choose alike": 2, "Answer alike": 2, "Kappa": 2},
    )  # fmt: skip
    return Section("similarity", "why", "Do methods keep the same tokens?", _sentence(pairs, links, budget),
                   tuple(drawings), (table,), _notes(links))  # fmt: skip


def _at(frame: pd.DataFrame, house: str, budget: float) -> pd.DataFrame:
    return frame[(frame["backbone"] == house) & (frame["budget"] == budget)]


def _drawings(
    sheet: Sheet, pairs: pd.DataFrame, layers: pd.DataFrame, of: str, house: str
) -> list[Drawing]:
    there = set(pairs["one"]) | set(pairs["other"])
    labels = [label for label in sheet.labels if label in there]
    order = alike_together(matrix(pairs, labels, "survival"), labels)
    looks = {label: sheet.looks[label] for label in order}
    blocks = sorted(int(block) for block in layers["block"].unique())
    values = np.stack(
        [matrix(layers[layers["block"] == block], order, "correlation") for block in blocks]
    )
    stem = "" if len(sheet.houses) < 2 else f"-{sheet.houses.index(house) + 1}"
    maps = Maps(
        ("kept alike",), tuple(blocks), values[None], "correlation of the kept sets, 0 as by chance", True,
        names=tuple(order),
    )  # fmt: skip
    drawn = [
        Drawing(
            f"similarity{stem}",
            partial(pairs_table, matrix(pairs, order, "survival"), order, looks, of),
            "Red pairs keep the same tokens, blue ones opposite tokens, pale ones have nothing to do with each other. "
            "Alike methods stand side by side.",
            "Table of all pairs of methods, coloured by the correlation of the tokens they keep.",
            maps,
        )
    ]
    reference = next(
        (label for label in sheet.labels if label in there and not _blind(sheet, label)), labels[0]
    )
    theirs = layers[(layers["one"] == reference) | (layers["other"] == reference)]
    lines = {label: sheet.looks[label] for label in labels}
    drawn.append(
        Drawing(
            f"similarity-blocks{stem}",
            partial(by_block, theirs, reference, lines, of),
            f"How far the tokens that each method keeps are those that {reference} keeps, block by block: 1 the same, "
            "0 as by chance.",
            f"One line for each method: the correlation of its kept tokens with those of {reference}, by block.",
        )
    )
    if pairs[["survival", "kappa"]].dropna().shape[0] > 2:
        drawn.append(
            Drawing(
                f"similarity-answers{stem}",
                partial(link, pairs, of),
                "A dot for each pair of methods. If choosing alike made methods answer alike, the dots would rise to "
                "the right.",
                "Scatter of pairs of methods: agreement in answers against agreement in kept tokens.",
            )
        )
    return drawn


def _blind(sheet: Sheet, label: str) -> bool:
    return sheet.looks[label].group in {DENSE, PLAIN}


def _sentence(pairs: pd.DataFrame, links: pd.DataFrame, budget: float) -> str:
    known = pairs[(pairs["budget"] == budget)].dropna(subset=["survival"])
    if known.empty:
        return "The tokens that the methods keep could not be compared: nothing was removed."
    most, least = known.loc[known["survival"].idxmax()], known.loc[known["survival"].idxmin()]
    words = (
        f"At {budget_name(budget)} of FLOPs removed {most['one']} and {most['other']} keep the most alike tokens "
        f"(rank correlation {number(most['survival'], 2)})"
        + (
            f", {least['one']} and {least['other']} the least ({number(least['survival'], 2)})"
            if len(known) > 1
            else ""
        )
    )
    found = [_verdict(row) for row in links[links["budget"] == budget].to_dict("records")]
    return f"{words}. {' '.join(found)}".strip()


def _verdict(row: Mapping[Any, Any]) -> str:
    clear = row["p"] < 0.05
    tells = "does" if clear and row["rho"] > 0 else "was not shown to"
    return (
        f"Keeping alike tokens {tells} go with being right on the same images on {row['backbone']}: across the pairs "
        f"of {int(row['methods'])} methods the two correlate by {number(row['rho'], 2)} (p {p_value(row['p'])})."
    )


def _notes(links: pd.DataFrame) -> tuple[str, ...]:
    told = "; ".join(
        f"{row['backbone']} {budget_name(row['budget'])}: {number(row['rho'], 2)} (p {p_value(row['p'])})"
        for row in links.to_dict("records")
    )
    return (
        "A token counts as kept while it stands under its own position: one that was merged into another is gone. The "
        "first seed stands for a stochastic method.",
        *([f"Choosing alike against answering alike, Spearman's correlation over pairs with Mantel's permutation test "
           f"(methods are permuted, since pairs share them): {told}."] if told else []),
    )  # fmt: skip

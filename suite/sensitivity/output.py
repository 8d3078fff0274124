"""Show the results of an analysis on the terminal or as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from rich.table import Table

from suite.sensitivity.analysis import Analysis
from suite.sensitivity.headline import interval, ranked_scores, select_rows
from suite.sensitivity.token_tables import OVERALL

# The maps are left out of the JSON: they have a row per block and patch token.
IN_JSON = (
    "sensitivity_agreement",
    "sensitivity_scores",
    "sensitivity_distance",
    "sensitivity_methods",
    "sensitivity_reach",
)
# Quantity and the two measures of it that a column of the first table correlates.
AGREEMENTS = (
    ("loss", "estimate", "zeroing"),
    ("loss", "estimate", "removal"),
    ("loss", "zeroing", "removal"),
    ("kl", "bound", "removal"),
)
MEASURES = (
    "removal, zeroing: of one token, exact; estimate: gradient x activation; bound: the product of "
    "their lengths; loss, kl: what is changed, the loss or the answer."
)
# Column heads of the second table.
TARGETS = {
    "removal_kl": "change of the answer",
    "removal_loss": "cost of removal",
    "foreground": "object",
}


def console_tables(frames: Mapping[str, pd.DataFrame]) -> list[Table]:
    """Build the tables of how well estimates and scores predict the exact effects."""
    return [
        agreement_table(frames["sensitivity_agreement"]),
        score_table(frames["sensitivity_scores"]),
    ]


def json_document(analysis: Analysis) -> dict[str, Any]:
    """Return headline, failures and the tables `IN_JSON` as JSON-able values."""
    document: dict[str, Any] = {"headline": analysis.headline, "failures": analysis.failures}
    for name in IN_JSON:
        if name not in analysis.frames:
            continue
        frame = analysis.frames[name]
        # JSON has no NaN.
        with_nulls = frame.astype(object).where(frame.notna(), None)
        document[name] = with_nulls.to_dict("records")
    return document


def agreement_table(agreement: pd.DataFrame) -> Table:
    """Rank correlations between estimates and exact effects, a row per block."""
    heads = [f"{first} and {second} ({quantity})" for quantity, first, second in AGREEMENTS]
    table = Table("block", *heads, title="rank correlation over an image's tokens")
    blocks = sorted(agreement.block[agreement.block != OVERALL].unique())
    for block in (*blocks, OVERALL):
        cells = []
        for quantity, first, second in AGREEMENTS:
            rows = select_rows(
                agreement, block=block, quantity=quantity, first=first, second=second
            )
            cells.append(_cell(rows))
        # no mean of the rows above
        table.add_row("all, ranked together" if block == OVERALL else str(block), *cells)
    return table


def score_table(scores: pd.DataFrame) -> Table:
    """How well each score predicts each target over all blocks, best first."""
    # The object is known in data sets with masks only.
    targets = [target for target in TARGETS if (scores.target == target).any()]
    heads = [TARGETS[target] for target in targets]
    title = "what scores predict, mean over blocks: rank correlation; object: AUC"
    table = Table("score", *heads, title=title)
    overall = scores[scores.block == OVERALL]
    # References follow the registered scores, in the order of the stored table.
    ranked = [*ranked_scores(scores, "removal_kl").score, *overall.score]
    for name in dict.fromkeys(ranked):
        rows = select_rows(overall, score=name)
        table.add_row(name, *(_cell(select_rows(rows, target=target)) for target in targets))
    return table


def _cell(rows: pd.DataFrame) -> str:
    return "" if rows.empty else interval(rows.iloc[0])

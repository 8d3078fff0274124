"""The analysis as a terminal or a program reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from rich.table import Table

from suite.sensitivity.analysis import Analysis
from suite.sensitivity.headline import interval, ranked_scores
from suite.sensitivity.token_tables import OVERALL

SHOWN = (
    "sensitivity_agreement",
    "sensitivity_scores",
    "sensitivity_distance",
    "sensitivity_methods",
)
COLUMNS = (
    ("loss", "estimate and zeroing"),
    ("loss", "estimate and removal"),
    ("loss", "zeroing and removal"),
    ("kl", "bound and removal"),
)


def tables(frames: Mapping[str, pd.DataFrame]) -> list[Table]:
    """How far the cheap estimates can be trusted, and which score knows what matters."""
    return [_agreement(frames["sensitivity_agreement"]), _scores(frames["sensitivity_scores"])]


def document(found: Analysis) -> dict[str, Any]:
    """The headline and the tables without the maps, JSON-able."""
    rows = {name: _records(found.frames[name]) for name in SHOWN}
    return {"headline": found.headline, "failures": found.failures, **rows}


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def _agreement(agreement: pd.DataFrame) -> Table:
    heads = [f"{column} ({quantity})" for quantity, column in COLUMNS]
    table = Table("block", *heads, title="rank correlation over an image's tokens")
    for block in (*sorted(agreement.block[agreement.block != OVERALL].unique()), OVERALL):
        rows = agreement[agreement.block == block]
        cells = []
        for quantity, column in COLUMNS:
            first, second = column.split(" and ")
            found = rows[
                (rows.quantity == quantity) & (rows["first"] == first) & (rows.second == second)
            ]
            cells.append(_cell(found))
        table.add_row("all" if block == OVERALL else str(block), *cells)
    return table


def _scores(scores: pd.DataFrame) -> Table:
    targets = {
        "removal_kl": "change of the answer",
        "removal_loss": "cost of removal",
        "foreground": "object",
    }
    there = {target: words for target, words in targets.items() if (scores.target == target).any()}
    table = Table(
        "score",
        *there.values(),
        title="what scores know, mean over blocks: rank correlation; object: AUC",
    )
    overall = scores[scores.block == OVERALL]
    ranked = list(ranked_scores(scores, "removal_kl").score)
    for name in (*ranked, *(name for name in overall.score.unique() if name not in ranked)):
        cells = [
            _cell(overall[(overall.score == name) & (overall.target == target)]) for target in there
        ]
        table.add_row(name, *cells)
    return table


def _cell(rows: pd.DataFrame) -> str:
    return "" if rows.empty else interval(rows.iloc[0])

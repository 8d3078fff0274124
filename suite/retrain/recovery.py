"""How much training under a method wins back: each method before and after, and against others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from suite.retrain.contrasts import contrast_rows
from suite.retrain.found import Found, everything_found, price
from suite.retrain.ranking import FEWEST, ranking_row
from suite.stats.correctness import Outcomes
from suite.stats.hits import aligned
from suite.stats.recovery import won_back
from suite.store.results import Results
from suite.store.schema import TABLES, CellRecord


def recovery_tables(records: Iterable[CellRecord], results: Results) -> dict[str, pd.DataFrame]:
    """The tables ``retrained``, ``retrained_contrasts`` and ``retrained_ranking``."""
    found = everything_found(records, results)
    contrasts, rankings = [], []
    for family in families(found):
        contrasts += contrast_rows(family)
        if len(family) >= FEWEST:
            rankings.append(ranking_row(family))
    rows = {
        "retrained": [row_of(one) for one in found],
        "retrained_contrasts": contrasts,
        "retrained_ranking": rankings,
    }
    return {
        name: pd.DataFrame(those, columns=list(TABLES[name].columns))
        for name, those in rows.items()
    }


def families(found: Iterable[Found]) -> list[list[Found]]:
    """The methods that were trained at one budget beside one control, and tested there.

    Without those that lie off it, as a smaller image may: their work is another.
    """
    groups: dict[tuple[object, ...], list[Found]] = {}
    for one in found:
        if one.trained_here and not one.record.off_budget:
            key = one.budget, tuple(one.trained.budgets), price(one.trained), one.beside
            groups.setdefault(key, []).append(one)
    return list(groups.values())


def row_of(found: Found) -> dict[str, Any]:
    """The row of a method at one budget, or of the control, in the table ``retrained``."""
    before, after, trained = found.before, found.after, found.trained
    low, high = after.interval()
    row: dict[str, Any] = {
        "backbone": trained.backbone,
        "budget": found.budget,
        "label": found.record.label,
        "removed": found.record.removed_share if found.budget else None,
        "dense_top1": found.dense.accuracy,
        "top1_before": before.accuracy,
        "top1": after.accuracy,
        "top1_low": low,
        "top1_high": high,
        "whole_top1": found.whole.accuracy,
        "control_top1": found.control.accuracy,
        "images": after.count,
        "seeds": after.seeds,
        "trained_images": trained.images,
        "trained_budgets": ", ".join(map(str, trained.budgets)),
        "training": trained.name,
    }
    row |= difference("difference", after, before)
    row["interval"] = after.paired(before).spread().kind
    if found.budget is not None:
        row |= difference("behind", found.control, after)
        hits = aligned(before, after)
        # The dense model has no chance in it: its only seed.
        share = won_back(aligned(found.dense, before)[0][0], *hits)
        if share is not None:
            row |= {"won_back": share[0]}
            row |= {"won_back_low": share[1].low, "won_back_high": share[1].high}
    return row


def difference(name: str, one: Outcomes, other: Outcomes) -> dict[str, float]:
    """Top-1 of one less that of the other, with its paired interval."""
    spread = one.paired(other).spread()
    value = one.accuracy - other.accuracy
    return {name: value, f"{name}_low": spread.low, f"{name}_high": spread.high}

"""What retraining won back in a line, for the terminal and the page alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Record = Mapping[Any, Any]


def recovery_answer(rows: Sequence[Record], called: Callable[[str], str] = str) -> str:
    """For which method most of the loss was won back, and whether that is shown, in a line.

    `rows` are those of the table ``retrained``; `called` gives what a method is called.
    """
    # Where a loss is not shown a share of it has no bounds, and is left empty.
    lossy = [row for row in rows if is_known(row["won_back"])]
    if not lossy:
        return "No method loses so much on these images that a share won back could be told."
    best = max(lossy, key=lambda row: row["won_back"])
    where = f"{called(best['label'])} on {best['backbone']} at -{100 * best['budget']:.4g} % FLOPs"
    if tested_elsewhere(best):
        where += f", trained at {budget_words(best['trained_budgets'])}"
    shares = f"{share_words(best)} of its loss; {control_words(best)}"
    # The best of several looks like a gain by chance alone.
    if best["won_back_low"] <= 0:
        return f"No gain by retraining is shown: most for {where}, {shares}."
    return f"Retraining wins back most for {where}: {shares}."


def control_words(row: Record) -> str:
    """Where a method ends beside the whole model that was trained alike."""
    low, high = 100 * row["behind_low"], 100 * row["behind_high"]
    if low <= 0 <= high:
        return (
            "it is not told apart from the whole model trained alike "
            f"({-high:+.1f} to {-low:+.1f} points)"
        )
    if low > 0:
        where, ends = "behind", f"[{low:.1f}, {high:.1f}]"
    else:
        where, ends = "ahead of", f"[{-high:.1f}, {-low:.1f}]"
    points = abs(100 * row["behind"])
    return f"it ends {points:.1f} points {ends} {where} the whole model trained alike"


def share_words(row: Record) -> str:
    """The share of a method's loss that was won back, with its interval; empty without a loss."""
    if not is_known(row["won_back"]):
        return ""
    low, high = 100 * row["won_back_low"], 100 * row["won_back_high"]
    return f"{100 * row['won_back']:.0f} % [{low:.0f}, {high:.0f}]"


def tested_elsewhere(row: Record) -> bool:
    """Whether the weights of a row were trained at other budgets than at its own alone."""
    trained = row["trained_budgets"]
    return bool(trained) and trained != str(row["budget"])


def budget_words(budgets: str) -> str:
    """Budgets as the table ``retrained`` has them, in words: "0.2, 0.4" are "-20, -40 %"."""
    shares = [f"-{100 * float(budget):.4g}" for budget in budgets.split(", ")]
    return f"{', '.join(shares)} %"


def is_known(value: Any) -> bool:
    """Whether it is a number."""
    # A row that was stored has NaN in place of None.
    return value is not None and not math.isnan(value)

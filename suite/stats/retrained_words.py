"""What training changes between methods, in words, for the terminal and the page alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

Record = Mapping[Any, Any]
LEVEL = 0.05


def order_words(row: Record) -> str:
    """Whether the order of methods without training predicts that of the trained ones.

    `row` is one of the table ``retrained_ranking``.
    """
    count = int(row["methods"])
    where = f"on {row['backbone']} at -{100 * row['budget']:.4g} % FLOPs"
    if math.isnan(row["concordance"]):
        return f"The {count} methods {where} are level, so that no order predicts another."
    low, high = row["concordance_low"], row["concordance_high"]
    found = f"Kendall's tau {row['concordance']:.2f} [{low:.2f}, {high:.2f}], p {row['p']:.2g}"
    # Of all orders one is the same.
    if 1 / math.factorial(count) >= LEVEL:
        return (
            f"{count} methods {where} are too few to show whether their order without training "
            f"predicts that after it ({found})."
        )
    known = "predicts" if row["p"] < LEVEL else "is not shown to predict"
    return f"The order of {count} methods {where} without training {known} that after it: {found}."


def contrast_words(row: Record, called: Callable[[str], str] = str) -> str:
    """What training makes of the difference between two settings of a method.

    `row` is one of the table ``retrained_contrasts``; `called` gives what a method is called.
    """
    pair = f"{called(row['label'])} less {called(row['reference'])} ({row['setting']})"
    where = f"on {row['backbone']} at -{100 * row['budget']:.4g} % FLOPs"
    ends = {}
    for name, low in (("difference_before", "before"), ("difference", "difference")):
        values = [100 * row[key] for key in (name, f"{low}_low", f"{low}_high")]
        ends[name] = "{:+.1f} [{:+.1f}, {:+.1f}]".format(*values)
    if row["change_low"] <= 0 <= row["change_high"]:
        change = "no change is shown"
    elif abs(row["difference"]) < abs(row["difference_before"]):
        change = "training brings them nearer"
    else:
        change = "training sets them apart"
    left = "a difference is left" if row["significant"] else "no difference is shown at the end"
    return (
        f"{pair} {where}: {ends['difference_before']} points without training, "
        f"{ends['difference']} after it; {change}; {left}."
    )

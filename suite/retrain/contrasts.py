"""Two settings of one method that differ in a single choice: what training changes between them.

Merging against pruning is such a choice, and the order of the survivors: R-MeeTo (arXiv 2412.12496)
says of both that training does not make up for the worse one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from suite.retrain.found import Found, mean_of_seeds
from suite.stats.compare import compare_pairs
from suite.stats.paired import ENDS
from suite.store.schema import CellRecord

ITSELF = "as it is"


def contrast_rows(family: Sequence[Found]) -> list[dict[str, Any]]:
    """Rows of the table ``retrained_contrasts`` from the methods of one backbone and budget."""
    pairs = []
    for other, one in combinations(family, 2):
        setting = only_choice(one.record, other.record)
        if setting:
            pairs.append((one, other, setting))
    after = compare_pairs([(one.after, other.after) for one, other, _ in pairs])
    rows = []
    for (one, other, setting), row in zip(pairs, after, strict=True):
        before = one.before.accuracy - other.before.accuracy
        spread = one.before.paired(other.before).spread()
        rows.append(
            {
                "backbone": one.trained.backbone,
                "budget": one.budget,
                "label": row.label,
                "reference": row.reference,
                "setting": setting,
                "difference_before": before,
                "before_low": spread.low,
                "before_high": spread.high,
                "difference": row.difference,
                "difference_low": row.difference_low,
                "difference_high": row.difference_high,
                "p": row.p,
                "p_holm": row.p_holm,
                "comparisons": row.comparisons,
                "significant": row.significant,
                **change(one, other),
                "images": row.images,
            }
        )
    return rows


def only_choice(one: CellRecord, other: CellRecord) -> str:
    """The choice in which two cells of a method differ, in words; empty unless it is one alone."""
    if one.method != other.method:
        return ""
    first, second = choices(one), choices(other)
    names = sorted(first.keys() | second.keys())
    apart = [name for name in names if first.get(name, ITSELF) != second.get(name, ITSELF)]
    if len(apart) != 1:
        return ""
    name = apart[0]
    return f"{name} {first.get(name, ITSELF)} against {second.get(name, ITSELF)}"


def choices(record: CellRecord) -> Mapping[str, Any]:
    """The options of a cell's method that are not its defaults, its schedule and its window."""
    # A window that was spelled out is an option, too.
    options = {name: value for name, value in record.options.items() if name != "cls_window"}
    return {**options, "schedule": record.schedule, "cls_window": record.cls_window}


def change(one: Found, other: Found) -> dict[str, float]:
    """How much training changes the difference of two methods, with a bootstrap over images."""
    drawn = mean_of_seeds([one.after, other.after, one.before, other.before])
    values = drawn[0] - drawn[1] - (drawn[2] - drawn[3])
    low, high = np.quantile(values, ENDS).tolist()
    gain = one.after.accuracy - other.after.accuracy
    return {
        "change": gain - (one.before.accuracy - other.before.accuracy),
        "change_low": low,
        "change_high": high,
    }

"""Points that would hide each other: set side by side, and not joined by lines that coincide."""

from __future__ import annotations

import numpy as np
import pandas as pd

NEAR = 0.01  # of top-1: methods that lie as close together at a budget
STEP = 0.011  # of the cost axis, between points that are set side by side


def side_by_side(part: pd.DataFrame) -> pd.DataFrame:
    """Return rows of one backbone with the ``place`` of each on the cost axis, and ``near``.

    Methods of one budget that follow each other within `NEAR` in top-1 stand side by side, in the
    order of their accuracy, and are ``near``. Rows of no budget, and of other work, stay.
    """
    span = float(part["total"].max() - part["total"].min())
    placed = part.assign(place=part["total"], near=False)
    for _, rows in part.dropna(subset=["budget", "total", "top1"]).groupby("budget"):
        middle = rows["total"].median()
        rows = rows[(rows["total"] - middle).abs() <= STEP * span].sort_values("top1")
        cluster = (rows["top1"].diff() > NEAR).cumsum()
        for _, those in rows.groupby(cluster):
            if len(those) > 1:
                steps = np.arange(len(those)) - (len(those) - 1) / 2
                placed.loc[those.index, "place"] = middle + STEP * span * steps
                placed.loc[those.index, "near"] = True
    return placed


def broken(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of one method, by cost, with an empty one where no line joins its points.

    That is where both ends of the line lie among points of other methods.
    """
    rows = rows.sort_values("total", ignore_index=True)
    both = rows["near"] & rows["near"].shift(-1, fill_value=False)
    # an index between two rows sorts in between them
    gaps = pd.DataFrame(index=rows.index[both] + 0.5, columns=rows.columns, dtype=object)
    if gaps.empty:
        return rows
    gaps["near"] = False
    joined = pd.concat([rows.astype(object), gaps]).sort_index(ignore_index=True)
    return joined.astype({name: kind for name, kind in rows.dtypes.items() if kind == "float64"})

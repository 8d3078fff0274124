"""Points that would hide each other stand side by side; lines that would are left out."""

import numpy as np
import pandas as pd

from reports.figures.apart import STEP, broken, side_by_side


def frame() -> pd.DataFrame:
    rows = [
        ("none", np.nan, 100.0, 0.9),
        ("a", 0.2, 80.0, 0.800), ("a", 0.4, 60.0, 0.700),
        ("b", 0.2, 80.0, 0.805), ("b", 0.4, 60.0, 0.708),
        ("c", 0.2, 80.0, 0.600), ("c", 0.4, 60.0, 0.703),
        ("small", 0.4, 70.0, 0.704),
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["label", "budget", "total", "top1"])


def test_neighbours_in_accuracy_stand_in_its_order() -> None:
    placed = side_by_side(frame()).set_index(["label", "budget"])
    step = STEP * 40.0
    assert placed.loc[("a", 0.2), "place"] == 80.0 - step / 2
    assert placed.loc[("b", 0.2), "place"] == 80.0 + step / 2
    # a, c, b follow each other within a point
    assert placed.loc[[("a", 0.4), ("c", 0.4), ("b", 0.4)], "place"].tolist() == [
        60.0 - step,
        60.0,
        60.0 + step,
    ]
    # What stands alone, or costs something else, stays.
    alone = placed[~placed["near"]]
    assert alone["place"].tolist() == alone["total"].tolist() == [100.0, 80.0, 70.0]


def test_a_line_is_broken_where_both_its_ends_are_hidden() -> None:
    placed = side_by_side(frame())
    lines = {str(label): broken(rows) for label, rows in placed.groupby("label")}
    assert lines["a"]["total"].fillna(0).tolist() == [60.0, 0.0, 80.0]
    assert lines["c"]["total"].tolist() == [60.0, 80.0]
    assert lines["a"]["place"].dtype == np.float64

"""First errors: the images on which a method loses the dense model's right answer first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import pandas as pd

from suite.store.schema import TABLES, CellRecord

PER_METHOD = 16  # images of each method
READ = ("image", "label_true", "prediction", "kl")


def first_errors_table(
    dense: Mapping[str, str],
    records: Iterable[CellRecord],
    outcomes: Callable[[str], pd.DataFrame],
) -> pd.DataFrame:
    """For each method the `PER_METHOD` images on which it goes wrong first, and at which budget.

    First is at the smallest budget, and there with the largest divergence from the dense model; the
    rows are in this order. `dense` gives the key of each backbone's dense cell, `records` are the
    cells that reduce, and `outcomes` reads those of a key, all with the images in one order.
    """
    members: dict[tuple[str, str], list[CellRecord]] = {}
    for record in records:
        # The first seed stands for all.
        if record.budget is not None and record.seed == 0:
            members.setdefault((record.backbone, record.label), []).append(record)
    frames = []
    for (backbone, label), cells in members.items():
        whole = outcomes(dense[backbone])
        # Images that the dense model and every smaller budget get right.
        right_so_far = (whole.prediction == whole.label_true).to_numpy()
        errors: list[pd.DataFrame] = []
        for record in sorted(cells, key=lambda cell: cell.budget or 0.0):
            rows = outcomes(record.key)
            right = (rows.prediction == rows.label_true).to_numpy()
            wrong = rows[right_so_far & ~right].nlargest(PER_METHOD, "kl")
            errors.append(wrong[["image", "kl"]].assign(budget=record.budget))
            # An image counts at the first budget that breaks it, even if a larger one is right.
            right_so_far = right_so_far & right
        # Budgets ascend, so the head is what goes wrong first.
        first = pd.concat(errors).head(PER_METHOD)
        frames.append(first.assign(backbone=backbone, label=label))
    columns = list(TABLES["first_errors"].columns)
    if not frames:
        return pd.DataFrame(columns=columns)
    return pd.concat(frames, ignore_index=True)[columns]


def first_error_pictures(table: pd.DataFrame, labels: Sequence[str]) -> dict[int, str]:
    """The image on which each method of `labels` goes wrong first, and which methods those are."""
    methods: dict[int, list[str]] = {}
    for label, rows in table[table.label.isin(list(labels))].groupby("label", sort=False):
        methods.setdefault(int(rows.image.iloc[0]), []).append(str(label))
    return {image: f"broken first by {', '.join(names)}" for image, names in methods.items()}

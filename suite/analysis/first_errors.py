"""The images whose right dense answer a method breaks first: where it begins to hurt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import pandas as pd

from suite.plan.cells import Named

KEPT = 16  # images of each method


def breaks_frame(
    dense: Mapping[str, str], cells: Iterable[Named], outcomes: Callable[[str], pd.DataFrame]
) -> pd.DataFrame:
    """For each method the `KEPT` images whose right dense answer it loses first, and at which budget.

    `dense` names the key of each backbone's dense cell, `cells` are those that reduce, and `outcomes` reads those of a
    key, all with the images in the same order. First is at the smallest budget, and there with the largest divergence
    ``kl`` from the dense model. The first seed stands for all. Columns backbone, label, image, budget, kl, in this
    order of the images.
    """
    members: dict[tuple[str, str], list[Named]] = {}
    for cell in cells:
        if cell.budget is not None and cell.seed == 0:
            members.setdefault((cell.backbone, cell.label), []).append(cell)
    frames = []
    for (backbone, label), theirs in members.items():
        whole = outcomes(dense[backbone])
        held = (
            whole.prediction == whole.label_true
        ).to_numpy()  # right answers that no smaller budget has lost
        lost: list[pd.DataFrame] = []
        for cell in sorted(theirs, key=lambda cell: cell.budget or 0.0):
            found = outcomes(cell.key)
            gone = found[held & (found.prediction != found.label_true).to_numpy()]
            held = held & (found.prediction == found.label_true).to_numpy()
            lost.append(gone.nlargest(KEPT, "kl")[["image", "kl"]].assign(budget=cell.budget))
        frames.append(pd.concat(lost).head(KEPT).assign(backbone=backbone, label=label))
    columns = ["backbone", "label", "image", "budget", "kl"]
    return (
        pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)
    )


def broken_first(breaks: pd.DataFrame, labels: Sequence[str]) -> dict[int, str]:
    """The image that each method of `labels` breaks first, and by which methods in words; shared ones once."""
    found: dict[int, list[str]] = {}
    for label, rows in breaks[breaks.label.isin(list(labels))].groupby("label", sort=False):
        found.setdefault(int(rows.image.iloc[0]), []).append(str(label))
    return {image: f"broken first by {', '.join(methods)}" for image, methods in found.items()}

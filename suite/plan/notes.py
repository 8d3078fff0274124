"""What a user should know of a plan before it runs."""

from __future__ import annotations

from suite.data.base import UNDIVIDED
from suite.plan.cells import Cell
from suite.plan.prepare import Prepared

REMOVING = ("sequence", "oracle")  # kinds of methods that remove tokens


def note_unused_split(prepared: Prepared) -> str:
    """Say that the data set has no splits, if one was set that chose nothing; empty otherwise."""
    dataset, split = prepared.dataset, prepared.spec.split
    if dataset.split != UNDIVIDED or split == UNDIVIDED:
        return ""
    return (
        f"the data set has no splits: --split {split} is all of its {len(dataset):,} {dataset.kind}"
    )


def unreachable_budgets(prepared: Prepared) -> list[str]:
    """Name each budget that no method can meet by removing tokens, and how close one comes."""
    groups: dict[tuple[str, float], list[Cell]] = {}
    for cell in prepared.cells:
        if cell.budget and cell.kind in REMOVING:
            groups.setdefault((cell.backbone, cell.budget), []).append(cell)
    sentences = []
    for (backbone, budget), cells in groups.items():
        shares = [(cell.closest, cell.label) for cell in cells if cell.closest is not None]
        if not shares or any(cell.plan for cell in cells):
            continue
        share, label = min(shares, key=lambda pair: abs(pair[0] - budget))
        sentences.append(
            f"no method that removes tokens can remove {100 * budget:.4g} % of the work of "
            f"{backbone}: the closest, {label}, removes {100 * share:.1f} %."
        )
    return sentences

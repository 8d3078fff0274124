"""What a user should know of a plan before it runs."""

from __future__ import annotations

from suite.plan.cells import REMOVING, Cell
from suite.plan.prepare import Prepared


def unreachable_budgets(prepared: Prepared) -> list[str]:
    """Name each budget that no method can meet by removing tokens, and how close one comes."""
    groups: dict[tuple[str, float], list[Cell]] = {}
    for cell in prepared.cells:
        if cell.budget and cell.kind in REMOVING:
            groups.setdefault((cell.backbone, cell.budget), []).append(cell)
    sentences = []
    for (backbone, budget), cells in groups.items():
        shares = [(cell.closest, cell.label) for cell in cells if cell.closest is not None]
        # One method that meets it is enough: the others say so in their own rows.
        if not shares or any(cell.plan for cell in cells):
            continue
        share, label = min(shares, key=lambda pair: abs(pair[0] - budget))
        sentences.append(
            f"no method that removes tokens can remove {100 * budget:.4g} % of the work of "
            f"{backbone}: the closest, {label}, removes {100 * share:.1f} %."
        )
    return sentences

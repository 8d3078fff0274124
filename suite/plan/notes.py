"""What a user should know of a plan before it runs."""

from __future__ import annotations

from collections.abc import Sequence

from suite.plan.cells import REMOVING, Cell
from suite.plan.prepare import Prepared


def notes_on_weights(prepared: Prepared) -> list[str]:
    """Say of each backbone which weights of its file were taken, what was changed and made up."""
    notes = []
    for name, model in prepared.models.items():
        told = model.provenance.told() if model.provenance else ""
        if told:
            notes.append(f"{name}, weights: {told}")
    return notes


def called(backbone: str, made_up: Sequence[str]) -> str:
    """A backbone in a finding: which of its parts are not trained belongs to its name."""
    return f"{backbone}, made up in part: {', '.join(made_up)}" if made_up else backbone


def made_up_warning(backbone: str, parts: Sequence[str]) -> str:
    """Warn that `parts` of a backbone are not trained; empty without any."""
    if not parts:
        return ""
    return (
        f"{backbone} is not trained as a whole: its weights lack {', '.join(parts)}, made up to "
        "fit. What is measured on it says nothing of a trained model."
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
        # One method that meets it is enough: the others say so in their own rows.
        if not shares or any(cell.plan for cell in cells):
            continue
        share, label = min(shares, key=lambda pair: abs(pair[0] - budget))
        sentences.append(
            f"no method that removes tokens can remove {100 * budget:.4g} % of the work of "
            f"{backbone}: the closest, {label}, removes {100 * share:.1f} %."
        )
    return sentences

"""Methods without a published schedule, which protocol `paper` names and does not run."""

from __future__ import annotations

from collections.abc import Iterable

UNSTATED = "its paper states no sites and counts: use --protocol matched"


def unstated_notes(cells: Iterable[tuple[str, str | None]]) -> list[str]:
    """Name those methods among `cells`, (label, reason), that have no row for `UNSTATED`."""
    # The same on every backbone, since it is of the paper.
    labels = dict.fromkeys(label for label, reason in cells if reason == UNSTATED)
    if not labels:
        return []
    return [
        f"Not in the table: {', '.join(labels)}. No sites and counts are published of them: use "
        "--protocol matched."
    ]

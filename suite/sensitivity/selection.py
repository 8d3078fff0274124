"""Which blocks and which patches an analysis looks at, from what was written on the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from backbones.common.errors import UserError

NUMBER = re.compile("[0-9]{1,9}")


def select(text: str, allowed: Sequence[int], what: str) -> tuple[int, ...]:
    """Those of `allowed` that `text` names: ``all``, ``every-K`` from the first on, or a list; else a UserError."""
    if text == "all":
        return tuple(allowed)
    prefix, _, step = text.rpartition("-")
    if prefix == "every" and NUMBER.fullmatch(step) and int(step) > 0:
        return tuple(allowed[:: int(step)])
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(NUMBER.fullmatch(part) and int(part) in allowed for part in parts):
        known = (
            ", ".join(map(str, allowed)) if len(allowed) <= 30 else f"{allowed[0]} to {allowed[-1]}"
        )
        raise UserError(
            f"--{what} '{text}' is not all, every-K (such as every-2) or a list of these: {known}"
        )
    return tuple(sorted({int(part) for part in parts}))


def select_patches(text: str, grid: tuple[int, int, int]) -> tuple[int, ...]:
    """The patch tokens of a (frames, rows, columns) grid that `text` names; ``every-K`` thins rows and columns."""
    cells = np.arange(np.prod(grid)).reshape(grid)
    if not text.startswith("every-"):
        return select(text, range(cells.size), "positions")
    rows, columns = (list(select(text, range(side), "positions")) for side in grid[1:])
    return tuple(cells[:, rows][:, :, columns].ravel().tolist())

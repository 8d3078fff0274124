"""Parse which blocks and which patches an analysis covers from the values of its options."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from backbones.common.errors import UserError

# str.isdigit would accept "²", which int() refuses; nine digits always fit into an index.
NUMBER = re.compile("[0-9]{1,9}")
# Longer lists are shown in a message by their ends only.
MOST_SHOWN = 30


def select(text: str, allowed: Sequence[int], option: str) -> tuple[int, ...]:
    """Return the values of `allowed` that `text` selects; UserError if it selects anything else.

    `text` is ``all``, ``every-K`` (every K-th value from the first on) or numbers separated by
    commas. `option` is the option's name, for the message.
    """
    if text == "all":
        return tuple(allowed)
    prefix, _, step = text.rpartition("-")
    if prefix == "every" and NUMBER.fullmatch(step) and int(step) > 0:
        return tuple(allowed[:: int(step)])
    parts = [part.strip() for part in text.split(",") if part.strip()]
    numbers = {int(part) for part in parts if NUMBER.fullmatch(part)}
    # A part that is no number would otherwise be dropped in silence.
    all_numbers = all(map(NUMBER.fullmatch, parts))
    if not parts or not all_numbers or not numbers <= set(allowed):
        choices = f"{allowed[0]} to {allowed[-1]}"
        if len(allowed) <= MOST_SHOWN:
            choices = ", ".join(map(str, allowed))
        raise UserError(
            f"--{option} '{text}' is not all, every-K (such as every-2) "
            f"or a list of these: {choices}"
        )
    return tuple(sorted(numbers))


def select_patches(text: str, grid: tuple[int, int, int]) -> tuple[int, ...]:
    """Return the ranks of the patch tokens that `text` selects; UserError as `select`.

    `grid` is (frames, rows, columns). ``every-K`` thins rows and columns in every frame, so that
    the selected patches stay spread evenly over the image.
    """
    ranks = np.arange(np.prod(grid)).reshape(grid)
    if not text.startswith("every-"):
        return select(text, range(ranks.size), "positions")
    _, height, width = grid
    rows = select(text, range(height), "positions")
    columns = select(text, range(width), "positions")
    # One axis at a time: both at once would pair rows with columns.
    thinned = ranks[:, list(rows)]
    thinned = thinned[:, :, list(columns)]
    return tuple(thinned.ravel().tolist())

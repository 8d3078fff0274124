"""The four orders in which VMamba scans a map (arXiv 2401.10166): its rows, its columns, and back.

Direction 0 reads row by row, 1 column by column, 2 and 3 the same from the last token to the first.
The scans run backwards by themselves, so that only rows and columns are arranged here.
"""

from __future__ import annotations

import torch
from torch import Tensor

DIRECTIONS = 4
REVERSE = (False, False, True, True)
COLUMNS = (False, True, False, True)  # whether a direction reads column by column


def by_columns(values: Tensor, rectangle: tuple[int, int]) -> Tensor:
    """Tokens (..., L, X) of a map of (rows, columns), row by row, read column by column."""
    return values.unflatten(-2, rectangle).transpose(-3, -2).flatten(-3, -2)


def by_rows(values: Tensor, rectangle: tuple[int, int]) -> Tensor:
    """Tokens (..., L, X) of a map of (rows, columns), column by column, read row by row."""
    rows, columns = rectangle
    return by_columns(values, (columns, rows))


def scan_order(values: Tensor, rectangle: tuple[int, int]) -> Tensor:
    """Arrange each direction's tokens (4, B, L, X) from the order of the image to its own."""
    return torch.stack(
        [
            by_columns(part, rectangle) if columns else part
            for part, columns in zip(values, COLUMNS, strict=True)
        ]
    )


def image_order(values: Tensor, rectangle: tuple[int, int]) -> Tensor:
    """Undo `scan_order`: each direction's tokens (4, B, L, X) in the order of the image."""
    rows, columns = rectangle
    return scan_order(values, (columns, rows))


def summed(outputs: Tensor, rectangle: tuple[int, int]) -> Tensor:
    """Sum over directions of outputs (4, B, L, X) in their own orders: (B, L, X) row by row."""
    rows, columns = outputs[0] + outputs[2], outputs[1] + outputs[3]
    return rows + by_rows(columns, rectangle)

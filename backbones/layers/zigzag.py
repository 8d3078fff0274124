"""The four zig-zag walks over a grid of patches along which PlainMamba scans (arXiv 2403.17695).

Walk 0 runs through the rows from the top, every other one backwards, so that each step goes to a
neighbour; walk 1 is its reverse; walks 2 and 3 do the same with columns. A place is a cell of the
row-major grid.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

WALKS = 4
START, RIGHT, LEFT, UP, DOWN = range(5)
ARRIVALS = 5
MOVES = {(0, 1): RIGHT, (0, -1): LEFT, (-1, 0): UP, (1, 0): DOWN}


class Paths(NamedTuple):
    """The walks over the tokens that are left: K walks, B images, L tokens.

    ``order``   (K, B, L) which token is met at each step
    ``step``    (K, B, L) at which step each token is met
    ``arrival`` (K, B, L) from which side the token of each step is reached on the full grid: START, RIGHT, ...
    """

    order: Tensor
    step: Tensor
    arrival: Tensor


def cells(height: int, width: int) -> list[list[tuple[int, int]]]:
    """(row, column) of every step of each walk."""
    rows = [
        (row, column if row % 2 == 0 else width - 1 - column)
        for row in range(height)
        for column in range(width)
    ]
    columns = [
        (row if column % 2 == 0 else height - 1 - row, column)
        for column in range(width)
        for row in range(height)
    ]
    return [rows, rows[::-1], columns, columns[::-1]]


@lru_cache(maxsize=16)
def walks(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Of each place in each walk (4, height x width): the step at which it is met, and how it is arrived at."""
    step, arrival = (
        [[0] * (height * width) for _ in range(WALKS)],
        [[START] * (height * width) for _ in range(WALKS)],
    )
    for walk, path in enumerate(cells(height, width)):
        for index, (row, column) in enumerate(path):
            step[walk][row * width + column] = index
            if index:
                before = path[index - 1]
                arrival[walk][row * width + column] = MOVES[row - before[0], column - before[1]]
    with torch.inference_mode(False):  # what is kept may serve training later
        return torch.tensor(step, device=device), torch.tensor(arrival, device=device)


def paths(position: Tensor, height: int, width: int) -> Paths:
    """The walks over tokens at the places `position` (B, L), those that are gone left out.

    A token keeps the arrival that it has on the full grid, whoever was before it.
    """
    step, arrival = walks(height, width, position.device)
    order = step[:, position].argsort(dim=2)
    return Paths(order, order.argsort(dim=2), arrival[:, position].gather(2, order))

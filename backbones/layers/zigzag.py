"""The four zig-zag walks over the grid of patches in PlainMamba (arXiv 2403.17695).

Walk 0 runs through the rows from the top, every other one backwards, so that each step goes to a
neighbour; walk 1 is its reverse; walks 2 and 3 do the same with columns. A position is the index of
a cell of the row-major grid.
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
    """The walks over the remaining tokens: K walks, B images, L tokens.

    ``order``   (K, B, L) index of the token at each step
    ``step``    (K, B, L) step at which each token is reached
    ``arrival`` (K, B, L) move by which the token of each step is reached on the full grid: START,
                RIGHT, ...
    """

    order: Tensor
    step: Tensor
    arrival: Tensor


def cells(height: int, width: int) -> list[list[tuple[int, int]]]:
    """(row, column) of every step of each walk."""
    rows: list[tuple[int, int]] = []
    for row in range(height):
        columns = range(width) if row % 2 == 0 else reversed(range(width))
        rows += [(row, column) for column in columns]
    columns_first: list[tuple[int, int]] = []
    for column in range(width):
        lines = range(height) if column % 2 == 0 else reversed(range(height))
        columns_first += [(row, column) for row in lines]
    return [rows, rows[::-1], columns_first, columns_first[::-1]]


# a reduction that keeps a rectangle has another one after every site
@lru_cache(maxsize=64)
def walks(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Each position's step and arrival in each walk, both (4, height x width)."""
    steps: list[list[int]] = []
    arrivals: list[list[int]] = []
    for path in cells(height, width):
        step = [0] * (height * width)
        arrival = [START] * (height * width)
        for index, (row, column) in enumerate(path):
            position = row * width + column
            step[position] = index
            if index:
                before = path[index - 1]
                arrival[position] = MOVES[row - before[0], column - before[1]]
        steps.append(step)
        arrivals.append(arrival)
    # The cached tensors may serve training later, where tensors of inference mode are refused.
    with torch.inference_mode(False):
        return torch.tensor(steps, device=device), torch.tensor(arrivals, device=device)


def paths(position: Tensor, height: int, width: int) -> Paths:
    """The walks over tokens at `position` (B, L), which skip removed tokens.

    A token keeps the arrival that it has on the full grid.
    """
    # A tracer's tensors have no values, and must not be kept for later calls.
    made = walks.__wrapped__ if torch.compiler.is_compiling() else walks
    step, arrival = made(height, width, position.device)
    # by their steps on the full grid, so that removed tokens leave no gap
    order = step[:, position].argsort(dim=2)
    # the second sort inverts the permutation
    inverse = order.argsort(dim=2)
    arrivals = arrival[:, position].gather(2, order)
    return Paths(order, inverse, arrivals)

"""Random numbers as a function of where they are used, not of when.

A number depends only on (seed, image, site, position, draw), so it is the same for any batch,
device and order of evaluation. The mixing step is the finaliser of splitmix64 (Steele, Lea, Flood,
OOPSLA 2014), on int64 that wraps.
"""

from __future__ import annotations

import torch
from torch import Tensor

GAMMA = 0x9E3779B97F4A7C15
MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
SHIFTS = (30, 27, 31)
MASK = (1 << 64) - 1


def _signed(word: int) -> int:
    """The int64 with the bits of the unsigned 64-bit `word`."""
    word &= MASK
    return word - (1 << 64) if word >> 63 else word


def _shifted(word: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64, which torch shifts arithmetically."""
    return (word >> bits) & ((1 << (64 - bits)) - 1)


def _mix(word: Tensor) -> Tensor:
    """The finaliser of splitmix64, elementwise on int64."""
    word = (word ^ _shifted(word, SHIFTS[0])) * _signed(MULTIPLIERS[0])
    word = (word ^ _shifted(word, SHIFTS[1])) * _signed(MULTIPLIERS[1])
    return word ^ _shifted(word, SHIFTS[2])


def uniform(seed: int, image: Tensor, site: int, position: Tensor, draw: int = 0) -> Tensor:
    """Numbers in [0, 1), fp64 (B, n), one for each token of each image.

    `image` (B,) and `position` (B, n) are whole numbers; `draw` separates several uses at one site.
    The words are absorbed one after the other, each followed by a full mix; the top 53 bits make
    the number.
    """
    state = torch.zeros_like(position)
    for word in (_signed(seed), image.to(position)[:, None], site, position, draw):
        state = _mix((state ^ word) + _signed(GAMMA))
    return _shifted(state, 11).to(torch.float64) * 2.0**-53

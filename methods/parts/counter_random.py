"""Random numbers as a function of where they are used, not of when.

A number depends only on (seed, image, site, position, draw), so it is the same for any batch,
device and order of evaluation. The mixing step is the finaliser of splitmix64 (Steele, Lea, Flood,
OOPSLA 2014), on int64 that wraps.
"""

from __future__ import annotations

import torch
from torch import Tensor

# 2^64 over the golden ratio, odd: its multiples visit every word before one comes again.
GAMMA = 0x9E3779B97F4A7C15
# Mixing constants of splitmix64, by which every input bit flips about half of the output's.
MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
SHIFTS = (30, 27, 31)
MASK = (1 << 64) - 1


def _signed(word: int) -> int:
    """The int64 with the bits of the unsigned 64-bit `word`."""
    # torch has no arithmetic on uint64; a wrapping product has the same bits in int64.
    word &= MASK
    return word - (1 << 64) if word >> 63 else word


def _shifted(word: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64, which torch shifts arithmetically."""
    # An arithmetic shift copies the sign bit, which the mask takes off.
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
    # A full mix after each word: if words were added, seed 1 of image 2 would be seed 2 of image 1.
    state = torch.zeros_like(position)
    for word in (_signed(seed), image.to(position)[:, None], site, position, draw):
        state = _mix((state ^ word) + _signed(GAMMA))
    # 53 bits are what fp64 holds exactly, so no number rounds up to 1.
    return _shifted(state, 11).to(torch.float64) * 2.0**-53

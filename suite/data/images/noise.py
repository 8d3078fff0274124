"""Coloured noise with a spectrum of 1/f^1.2, the same bits on every machine.

It is drawn from bytes in whole-number arithmetic. An image of amplitude spectrum 1/f^1.2 has nearly
the same variance in every octave of frequency (f^-2.4 over a ring of circumference 2 pi f), so it
is a sum of random lattices of spacing 32, 16, ..., 1 pixels, interpolated linearly. Each lattice is
shifted at random, so that its knots have no fixed position relative to the tokens.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from backbones.compiled.jit import inlined
from suite.data.loading.compiled import compiled

SIDE = 56
CHANNELS = 3
LOG_SPACINGS = (5, 4, 3, 2, 1, 0)
OCTAVES = len(LOG_SPACINGS)
# Knots that a shifted lattice needs along one side to reach beyond the last pixel.
KNOTS = tuple((SIDE - 1 + (1 << log) - 1 >> log) + 2 for log in LOG_SPACINGS)
LATTICE_BYTES = CHANNELS * sum(knots * knots for knots in KNOTS)
# Weight of each octave in 1/256, fitted so that the radial amplitude spectrum falls as f^-1.2.
WEIGHTS = (80, 74, 67, 59, 47, 28)
MEAN = 115

_LOGS = np.array(LOG_SPACINGS, np.int32)
_SIDES = np.array(KNOTS, np.int32)
_WEIGHTS = np.array(WEIGHTS, np.int32)


@inlined
def _add_octave(
    total: Any, lattice: Any, knots: int, log_spacing: int, weight: int, shift_y: int, shift_x: int
) -> None:
    """Add an interpolated lattice (knots x knots bytes) times `weight` to one channel.

    `total` is (SIDE, SIDE).
    """
    spacing = 1 << log_spacing
    row = np.empty(knots, np.int32)
    for y in range(SIDE):
        place = y + shift_y
        above = (place >> log_spacing) * knots
        below_part = place & (spacing - 1)
        for knot in range(knots):
            top = 2 * np.int32(lattice[above + knot]) - 255
            # On a row of knots the row below has no weight, and may lie outside the lattice.
            bottom = top
            if below_part:
                bottom = 2 * np.int32(lattice[above + knots + knot]) - 255
            row[knot] = (top * (spacing - below_part) + bottom * below_part) * weight
        for x in range(SIDE):
            column = x + shift_x
            left = column >> log_spacing
            right_part = column & (spacing - 1)
            value = row[left] * (spacing - right_part) + row[left + 1] * right_part
            total[y, x] += value >> (2 * log_spacing)


@inlined
def _draw_one(lattice: Any, shifts: Any, canvas: Any) -> None:
    """Fill one image; see `draw_noise`."""
    total = np.zeros((CHANNELS, SIDE, SIDE), np.int32)
    start = 0
    for octave in range(OCTAVES):
        knots, log_spacing = _SIDES[octave], _LOGS[octave]
        mask = (1 << log_spacing) - 1
        for channel in range(CHANNELS):
            area = lattice[start : start + knots * knots]
            shift_y, shift_x = shifts[2 * octave] & mask, shifts[2 * octave + 1] & mask
            weight = _WEIGHTS[octave]
            _add_octave(total[channel], area, knots, log_spacing, weight, shift_y, shift_x)
            start += knots * knots
    for y in range(SIDE):
        for x in range(SIDE):
            grey = total[0, y, x] + total[1, y, x] + total[2, y, x]
            for channel in range(CHANNELS):
                # 0.6 of the channels' mean and 0.4 of its own is (grey + 2 own) / 5; the weights
                # are in 1/256.
                value = MEAN + (grey + 2 * total[channel, y, x]) // 1280
                canvas[y, x, channel] = min(max(value, 0), 255)


@compiled
def draw_noise(lattice: Any, shifts: Any, canvas: Any) -> None:
    """Fill `canvas` (B, SIDE, SIDE, 3) uint8 with noise of mean MEAN, its channels correlated.

    `lattice` (B, LATTICE_BYTES or more) uint8 are the random knots, octave by octave and channel by
    channel; `shifts` (B, 2 * OCTAVES) whole numbers, of which an octave uses as many low bits as
    its spacing has.
    """
    for image in range(len(canvas)):
        _draw_one(lattice[image], shifts[image], canvas[image])

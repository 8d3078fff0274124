"""The garments of a `fashion-clutter` image, pasted over its noise, after fragments of others.

Everything is whole-number arithmetic in a fixed order, so the bytes are the same on every machine,
for every batch and number of threads. Positions are whole pixels, scales 1/256, resampling weights
1/256.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from backbones.compiled.jit import device
from suite.data.loading.compiled import compiled

SOURCE_SIDE = 28
FRAGMENTS = 4
FRAGMENT_SIDE = 10
# A fragment is cut from the middle of a garment: its corner lies in 4 .. 4 + 10.
FRAGMENT_CORNER, FRAGMENT_CORNERS = 4, 11
# Source pixels fainter than this are the photograph's background (haze of 1..7 surrounds many
# garments).
GARMENT_THRESHOLD = 8
SCALE_ONE, SCALES = 256, 129
TINT_LOW, TINTS = 77, 179
PLACEMENT_DICE = 6
FRAGMENT_DICE = 3 + PLACEMENT_DICE
GARMENT_DICE = PLACEMENT_DICE + FRAGMENTS * FRAGMENT_DICE


@device
def _pick(die: Any, sides: int) -> int:
    """A whole number in 0..sides-1 from a 31-bit die."""
    # Not the remainder, which costs a division; the product fits into 64 bits.
    return int((die * sides) >> 31)


@device
def _paste(
    canvas: Any, alpha: Any, source: Any, corner_y: int, corner_x: int, side: int, dice: Any
) -> None:
    """Scale, tint and paste the window (side x side at corner) of `source`.

    `canvas` (S, S, 3) gets the colours, `alpha` (S, S) the opacity. `dice`: scale, y, x, red,
    green, blue. Resampling is bilinear.
    """
    scale = SCALE_ONE + _pick(dice[0], SCALES)
    size = (side * scale + SCALE_ONE - 1) // SCALE_ONE
    top = _pick(dice[1], canvas.shape[0] - size + 1)
    left = _pick(dice[2], canvas.shape[1] - size + 1)
    red = TINT_LOW + _pick(dice[3], TINTS)
    green = TINT_LOW + _pick(dice[4], TINTS)
    blue = TINT_LOW + _pick(dice[5], TINTS)
    for y in range(size):
        # Source coordinate of the pixel's centre in 1/512 pixel, (y + 1/2) / scale - 1/2.
        at_y = ((2 * y + 1) * SCALE_ONE * 256) // scale - 256
        y0, weight_y = at_y >> 9, (at_y & 511) >> 1
        for x in range(size):
            at_x = ((2 * x + 1) * SCALE_ONE * 256) // scale - 256
            x0, weight_x = at_x >> 9, (at_x & 511) >> 1
            value, cover = np.int64(0), np.int64(0)
            for down in range(2):
                for right in range(2):
                    source_y, source_x = y0 + down, x0 + right
                    if 0 <= source_y < side and 0 <= source_x < side:
                        pixel = np.int64(source[corner_y + source_y, corner_x + source_x])
                        if pixel >= GARMENT_THRESHOLD:
                            weight = weight_y if down else 256 - weight_y
                            weight *= weight_x if right else 256 - weight_x
                            value += weight * pixel
                            cover += weight
            # Colour is premultiplied with the mask (Porter and Duff 1984): mixed with the black of
            # the photograph, a dark rim would betray what was pasted.
            clear = 65536 - cover
            for channel, tint in enumerate((red, green, blue)):
                mixed = canvas[top + y, left + x, channel] * clear + value * tint // 255
                canvas[top + y, left + x, channel] = mixed >> 16
            alpha[top + y, left + x] = (cover * 255) >> 16


@compiled
def draw_garments(
    sources: Any, garments: Any, pool: Any, dice: Any, canvas: Any, alpha: Any
) -> None:
    """Paste fragments and then the garment over each canvas of a batch.

    `sources` (N, 28, 28) uint8; `garments` (B,) rows of it; `pool` (P,) rows that fragments come
    from; `dice` (B, GARMENT_DICE) 31-bit numbers; `canvas` (B, S, S, 3) uint8; `alpha` (B, S, S)
    gets the opacity of the garments.
    """
    unused = np.empty(alpha.shape[1:], np.uint8)
    for image in range(len(garments)):
        for fragment in range(FRAGMENTS):
            start = PLACEMENT_DICE + fragment * FRAGMENT_DICE
            choice = _pick(dice[image, start], len(pool))
            # A garment is no distractor in its own image, unless it is the whole pool.
            if pool[choice] == garments[image]:
                choice = (choice + 1) % len(pool)
            corner_y = FRAGMENT_CORNER + _pick(dice[image, start + 1], FRAGMENT_CORNERS)
            corner_x = FRAGMENT_CORNER + _pick(dice[image, start + 2], FRAGMENT_CORNERS)
            placement = dice[image, start + 3 : start + FRAGMENT_DICE]
            _paste(
                canvas[image],
                unused,
                sources[pool[choice]],
                corner_y,
                corner_x,
                FRAGMENT_SIDE,
                placement,
            )
        # Noise and fragments are background.
        alpha[image] = 0
        placement = dice[image, :PLACEMENT_DICE]
        _paste(canvas[image], alpha[image], sources[garments[image]], 0, 0, SOURCE_SIDE, placement)

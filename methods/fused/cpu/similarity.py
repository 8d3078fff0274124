"""Cosines of one image's tokens and the best of each row; the matrix stays in cache."""

from __future__ import annotations

from typing import Any

import numpy as np

from backbones.compiled.jit import device, reassociating
from backbones.compiled.native import prefetch, row
from backbones.compiled.numerics import ONE, ZERO, workspace
from methods.fused.cpu.ranking import largest, nth_largest
from methods.fused.cpu.tile import COLUMNS, ROWS, tile

AHEAD = 4  # tokens: far enough for memory to answer, near enough to stay in cache
TINY = np.float32(1.1754944e-38)  # the smallest normal number, `torch.finfo(torch.float32).tiny`


@reassociating
def dot(a: Any, b: Any, count: int) -> Any:
    """Inner product, summed in the compiler's order, which is the same for a given count."""
    total = ZERO
    for index in range(count):
        total += a[index] * b[index]
    return total


@device
def length(values: Any, count: int) -> Any:
    """Length of a vector, never quite zero."""
    return max(np.sqrt(dot(values, values, count)), TINY)


@device
def feature(frame: Any, image: int, place: int, out: Any) -> None:
    """Copy the feature of the token at `place`: one stream, or the sum of two."""
    one = row(frame.feature, image * frame.feature_b + place * frame.feature_l)
    if frame.feature2 == 0:
        for f in range(frame.feature_width):
            out[f] = one[f]
    else:
        two = row(frame.feature2, image * frame.feature2_b + place * frame.feature2_l)
        for f in range(frame.feature_width):
            out[f] = one[f] + two[f]


@device
def look_ahead(frame: Any, image: int, places: Any, index: int, count: int) -> None:
    """Prefetch the feature of a token needed soon, which the hardware cannot foresee."""
    if index < count:
        one = row(frame.feature, image * frame.feature_b + places[index] * frame.feature_l)
        # 16 numbers are one cache line
        for f in range(0, frame.feature_width, COLUMNS):
            prefetch(one, f)
        if frame.feature2 != 0:
            two = row(frame.feature2, image * frame.feature2_b + places[index] * frame.feature2_l)
            for f in range(0, frame.feature_width, COLUMNS):
                prefetch(two, f)


@device
def compare(
    frame: Any, image: int, ones: Any, m: int, others: Any, t: int, best: Any, edge: Any
) -> None:
    """Find the most similar of `t` others for each of `m` tokens: its index there, and the cosine.

    `ones` and `others` are places in the sequence.
    """
    width, blocks = frame.feature_width, (t + COLUMNS - 1) // COLUMNS
    pitch = blocks * COLUMNS
    # (6, F) rows, (blocks, F, 16) columns, (6, pitch) cosines: never the whole m x t matrix. Lanes
    # beyond t stay zero and are not searched.
    rows, columns, cosines = (
        workspace(ROWS * width),
        workspace(pitch * width),
        workspace(ROWS * pitch),
    )
    across, down = np.empty(ROWS, np.float32), workspace(pitch)
    keys = np.empty(t, np.int32)
    for j in range(t):
        # borrowed as scratch: `rows` is filled only below
        one = rows[:width]
        look_ahead(frame, image, others, j + AHEAD, t)
        feature(frame, image, others[j], one)
        # One division a token; the m t cosines are then multiplied.
        down[j] = ONE / length(one, width)
        # 16 tokens side by side, so that the tile reads a whole vector for each number of a row.
        lane = columns[j // COLUMNS * COLUMNS * width + j % COLUMNS :]
        for f in range(width):
            lane[f * COLUMNS] = one[f]
    for first in range(0, m, ROWS):
        count = min(ROWS, m - first)
        for i in range(count):
            one = rows[i * width : (i + 1) * width]
            look_ahead(frame, image, ones, first + i + AHEAD, m)
            feature(frame, image, ones[first + i], one)
            across[i] = length(one, width)
        for block in range(blocks):
            # The last block of rows computes stale ones beyond `count`; nobody reads them.
            column = columns.ctypes.data + 4 * block * COLUMNS * width
            tile(rows.ctypes.data, column, width, cosines.ctypes.data + 4 * block * COLUMNS, pitch)
        for i in range(count):
            cosine = cosines[i * pitch : (i + 1) * pitch]
            for j in range(pitch):
                cosine[j] *= down[j]
            best[first + i] = (
                largest(cosine, t, keys)
                if frame.neighbour_rank == 1
                else nth_largest(cosine, t, frame.neighbour_rank)
            )
            # Its own length cannot change which is best, so only the best is divided by it.
            edge[first + i] = cosine[best[first + i]] / across[i]


@device
def compare_neighbours(frame: Any, image: int, places: Any, count: int, bond: Any) -> None:
    """Cosine of each of `count` tokens with the next."""
    width = frame.feature_width
    rows = workspace(2 * width)
    this, following = rows[:width], rows[width : 2 * width]
    if count:
        feature(frame, image, places[0], this)
    size = length(this, width)
    for i in range(count - 1):
        feature(frame, image, places[i + 1], following)
        longer = length(following, width)
        bond[i] = dot(this, following, width) / size / longer
        # Buffers change roles: every feature is read once.
        this, following, size = following, this, longer

"""Stable sorting: few numbers by counting those before each, without branches, more by merging."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from backbones.compiled.jit import device, intrinsic, types

FEW = 112  # measured: above, merging is faster
MAGNITUDE, MAGNITUDE32 = np.int64(0x7FFFFFFFFFFFFFFF), np.int32(0x7FFFFFFF)


@intrinsic
def _bits(typing: Any, value: Any) -> Any:
    """The bits of a float64 as an int64."""
    return types.int64(types.float64), lambda _, builder, __, given: builder.bitcast(
        given[0], ir.IntType(64)
    )


@intrinsic
def _bits32(typing: Any, value: Any) -> Any:
    """The bits of a float32 as an int32."""
    return types.int32(types.float32), lambda _, builder, __, given: builder.bitcast(
        given[0], ir.IntType(32)
    )


@device
def key(value: Any) -> Any:
    """An integer that orders as `value` (float64) does; both zeros are equal and nan is ordered."""
    # Adding 0 makes -0 into +0. The bits of negative numbers order backwards, so they are flipped.
    bits = _bits(value + 0.0)
    return bits ^ ((bits >> 63) & MAGNITUDE)


@device
def rank(keys: Any, count: int, places: Any) -> None:
    """Rank of each of the first `count` keys in descending order, the earlier of equals first."""
    if count <= FEW:
        by_counting(keys, count, places)
    else:
        by_merging(keys, count, places)


@device
def by_counting(keys: Any, count: int, places: Any) -> None:
    """`rank` in count^2 comparisons, several at once."""
    for i in range(count):
        mine, before = keys[i], np.int64(0)
        # Two loops instead of a test of the index: an earlier equal counts, a later one does not.
        for j in range(i):
            before += np.int64(keys[j] >= mine)
        for j in range(i + 1, count):
            before += np.int64(keys[j] > mine)
        places[i] = before


@device
def by_merging(keys: Any, count: int, places: Any) -> None:
    """`rank` in count log(count) steps: sorted runs of 1, 2, 4, ... merged two by two."""
    order, merged = np.empty(count, np.int64), np.empty(count, np.int64)
    for i in range(count):
        order[i] = i
    run = 1
    while run < count:
        for start in range(0, count, 2 * run):
            middle, end = min(start + run, count), min(start + 2 * run, count)
            left, right = start, middle
            for place in range(start, end):
                # From the left run between equals, which keeps the sort stable.
                if left < middle and (right >= end or keys[order[left]] >= keys[order[right]]):
                    merged[place] = order[left]
                    left += 1
                else:
                    merged[place] = order[right]
                    right += 1
        # The buffers change roles; nothing is copied back.
        order, merged = merged, order
        run *= 2
    for place in range(count):
        places[order[place]] = place


@device
def largest(values: Any, count: int, keys: Any) -> int:
    """Index of the largest of the first `count` >= 1 `values`, the earlier of equals.

    `values` are float32; `keys` is scratch.
    """
    top = np.int32(-MAGNITUDE32 - 1)
    for j in range(count):  # comparing whole numbers, the loop is vectorised
        bits = _bits32(values[j] + np.float32(0))
        keys[j] = bits ^ ((bits >> np.int32(31)) & MAGNITUDE32)
        top = max(top, keys[j])
    first = 0
    while keys[first] != top:
        first += 1
    return first


@device
def nth_largest(values: Any, count: int, nth: int) -> int:
    """Index of the `nth` largest of the first `count` values, of the last where there are fewer."""
    keys, places = np.empty(count, np.int64), np.empty(count, np.int64)
    for j in range(count):
        keys[j] = key(np.float64(values[j]))
    rank(keys, count, places)
    index = 0
    while places[index] != min(nth, count) - 1:
        index += 1
    return index

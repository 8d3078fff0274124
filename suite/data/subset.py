"""Subsets of a data set: deterministic, stratified by class, and nested."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backbones.common.errors import UserError
from suite.data.base import IntArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFT = (np.uint64(30), np.uint64(27), np.uint64(31))


def scramble(keys: NDArray[np.integer]) -> NDArray[np.uint64]:
    """SplitMix64 (Steele et al. 2014) of each key: a fixed order unrelated to that of the files."""
    # The products wrap around at 2^64 by design.
    with np.errstate(over="ignore"):
        bits = (keys.astype(np.uint64) + np.uint64(1)) * _GOLDEN
        bits = (bits ^ (bits >> _SHIFT[0])) * _MIX[0]
        bits = (bits ^ (bits >> _SHIFT[1])) * _MIX[1]
    return bits ^ (bits >> _SHIFT[2])


def _rank_in_class(labels: IntArray, order: IntArray) -> IntArray:
    """Number of items of the same class that come before each item in `order`."""
    by_class = order[np.argsort(labels[order], kind="stable")]
    sorted_labels = labels[by_class]
    first_of_class = np.searchsorted(sorted_labels, sorted_labels)
    ranks = np.empty(len(labels), dtype=np.int64)
    ranks[by_class] = np.arange(len(labels)) - first_of_class
    return ranks


def stratified(labels: IntArray, count: int) -> IntArray:
    """Sorted indices of `count` items, as evenly over the classes as their sizes allow.

    The same labels give the same choice, and a smaller choice is part of a larger one: items are
    taken in rounds of one from each class. UserError if `count` is not in 1..len(labels).
    """
    if not 1 <= count <= len(labels):
        raise UserError(
            f"{count} images asked for, but the data set has {len(labels)}: "
            f"choose 1 to {len(labels)}, or all"
        )
    keys = scramble(np.arange(len(labels)))
    ranks = _rank_in_class(labels, np.argsort(keys, kind="stable"))
    # In an incomplete round the classes come in scrambled order, else low labels would lead.
    rounds = np.lexsort((scramble(labels), ranks))
    return np.sort(rounds[:count])


def pictured(indices: IntArray, gallery: int | tuple[int, ...]) -> list[int]:
    """Images of the run for its gallery: a number of random ones, or those of these indices.

    UserError for an index that is not among `indices`.
    """
    if isinstance(gallery, int):
        drawn = np.argsort(scramble(indices), kind="stable")[:gallery]
        return sorted(indices[drawn].tolist())
    strangers = sorted(set(gallery) - set(indices.tolist()))
    if strangers:
        raise UserError(
            f"--gallery: image {strangers[0]} is not among the {len(indices):,} of this run: "
            f"name others"
        )
    return list(dict.fromkeys(gallery))

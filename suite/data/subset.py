"""Choosing a subset of a data set: deterministic, stratified by class, and nested."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backbones.common.errors import UserError

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFT = (np.uint64(30), np.uint64(27), np.uint64(31))


def scramble(keys: NDArray[np.integer]) -> NDArray[np.uint64]:
    """SplitMix64 (Steele et al. 2014) of each key: an order without regard to how the files happened to be sorted."""
    with np.errstate(over="ignore"):
        bits = (keys.astype(np.uint64) + np.uint64(1)) * _GOLDEN
        bits = (bits ^ (bits >> _SHIFT[0])) * _MIX[0]
        bits = (bits ^ (bits >> _SHIFT[1])) * _MIX[1]
    return bits ^ (bits >> _SHIFT[2])


def _rank_in_class(labels: NDArray[np.int64], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each item, how many of its class come before it in `order`."""
    by_class = order[np.argsort(labels[order], kind="stable")]
    counts = np.unique(labels, return_counts=True)[1]
    ranks = np.empty(len(labels), dtype=np.int64)
    ranks[by_class] = np.concatenate([np.arange(count) for count in counts])
    return ranks


def stratified(labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Sorted indices of `count` items, as evenly over the classes as their sizes allow.

    The same labels give the same choice, and a smaller choice lies inside a larger one: items are
    taken in rounds, one of each class a round, until `count` are there. UserError if `count` is not
    in 1..len(labels).
    """
    if not 1 <= count <= len(labels):
        raise UserError(
            f"{count} images asked for, but the data set has {len(labels)}: choose 1 to {len(labels)}, or all"
        )
    keys = scramble(np.arange(len(labels)))
    ranks = _rank_in_class(labels, np.argsort(keys, kind="stable"))
    rounds = np.lexsort((scramble(labels), ranks))
    return np.sort(rounds[:count])


def pictured(indices: NDArray[np.int64], wanted: int | tuple[int, ...]) -> list[int]:
    """Of the run's images those to show: so many, drawn, or those named; UserError for one that is not there."""
    if isinstance(wanted, int):
        drawn = np.argsort(scramble(indices), kind="stable")[:wanted]
        return sorted(int(image) for image in indices[drawn])
    strangers = sorted(set(wanted) - {int(image) for image in indices})
    if strangers:
        raise UserError(
            f"--gallery: image {strangers[0]} is not among the {len(indices):,} of this run: name others"
        )
    return list(dict.fromkeys(wanted))

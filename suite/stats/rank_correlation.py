"""Rank correlation and separation of many short lists at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Array = NDArray[np.float64]


def spearman(first: Array, second: Array) -> Array:
    """Spearman's rank correlation along the last axis of two arrays (..., n), ties at their mean rank.

    Places where either is NaN are left out. NaN where fewer than three are left or one of the two
    is constant.
    """
    first, second = np.broadcast_arrays(first, second)
    known = np.isfinite(first) & np.isfinite(second)
    return _pearson(_ranks(first, known), _ranks(second, known), known)


def partial_spearman(first: Array, second: Array, given: Array) -> Array:
    """Spearman's correlation of `first` and `second` with what both share with `given` taken out, all (..., n)."""
    first, second, given = np.broadcast_arrays(first, second, given)
    known = np.isfinite(first) & np.isfinite(second) & np.isfinite(given)
    ranks = [_ranks(part, known) for part in (first, second, given)]
    xy, xz, yz = (_pearson(ranks[i], ranks[j], known) for i, j in ((0, 1), (0, 2), (1, 2)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))


def separation(values: Array, marked: Array) -> Array:
    """Probability that a marked place has the larger value than an unmarked one, ties half: the area under the ROC.

    Along the last axis of `values` (..., n), `marked` (..., n) being 1, 0 or NaN. NaN where either
    kind is missing.
    """
    values, marked = np.broadcast_arrays(values, marked)
    known = np.isfinite(values) & np.isfinite(marked)
    ranks = _ranks(values, known)
    yes, no = known & (marked > 0.5), known & (marked < 0.5)
    positive, negative = yes.sum(-1), no.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return ((ranks * yes).sum(-1) - positive * (positive + 1) / 2) / (positive * negative)


def percentile(values: Array) -> Array:
    """Where each place stands in its list, 0 the lowest and 1 the highest, along the last axis; NaN where unknown."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (_ranks(values, known) - 1) / (known.sum(-1)[..., None] - 1)
    return np.where(known, found, np.nan)


def _ranks(values: Array, known: NDArray[np.bool_]) -> Array:
    """Ranks 1.. among the known places of each list; 0 at the others."""
    ranks = rankdata(np.where(known, values, np.inf), axis=-1)
    return np.where(known, ranks, 0.0)


def _pearson(first: Array, second: Array, known: NDArray[np.bool_]) -> Array:
    """Pearson's correlation of ranks over the known places of each list."""
    count = known.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        middle = (count[..., None] + 1) / 2
        a, b = (np.where(known, part - middle, 0.0) for part in (first, second))
        found = (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    return np.where(count >= 3, found, np.nan)

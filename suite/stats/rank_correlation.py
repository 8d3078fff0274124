"""Rank correlation and separation of many short lists at once.

All functions work along the last axis of arrays (..., n). NaN marks a missing entry, which is left
out together with its partner.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

MOST_ORDERED = 7  # entries of which all orders are gone through
DRAWS = 9999  # orders of more

Array = NDArray[np.float64]


def spearman(first: Array, second: Array) -> Array:
    """Spearman's rank correlation, ties at their mean rank.

    NaN if fewer than three entries are left, or one list is constant.
    """
    first, second = np.broadcast_arrays(first, second)
    valid = np.isfinite(first) & np.isfinite(second)
    return _pearson(_ranks(first, valid), _ranks(second, valid), valid)


def partial_spearman(first: Array, second: Array, given: Array) -> Array:
    """Spearman's partial correlation of `first` and `second`, `given` held constant."""
    first, second, given = np.broadcast_arrays(first, second, given)
    valid = np.isfinite(first) & np.isfinite(second) & np.isfinite(given)
    x, y, z = (_ranks(part, valid) for part in (first, second, given))
    xy, xz, yz = _pearson(x, y, valid), _pearson(x, z, valid), _pearson(y, z, valid)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))


def separation(values: Array, marked: Array) -> Array:
    """Area under the ROC: probability that a marked entry exceeds an unmarked one, ties half.

    `marked` is 1, 0 or NaN. The result is NaN if either kind is missing.
    """
    values, marked = np.broadcast_arrays(values, marked)
    valid = np.isfinite(values) & np.isfinite(marked)
    ranks = _ranks(values, valid)
    yes, no = valid & (marked > 0.5), valid & (marked < 0.5)
    positive, negative = yes.sum(-1), no.sum(-1)
    # The rank sum of the marked, less its least possible value, counts the pairs they win.
    won = (ranks * yes).sum(-1) - positive * (positive + 1) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return won / (positive * negative)


def percentile(values: Array) -> Array:
    """Rank of each entry in its list, from 0 for the lowest to 1 for the highest."""
    valid = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = (_ranks(values, valid) - 1) / (valid.sum(-1)[..., None] - 1)
    return np.where(valid, shares, np.nan)


def _ranks(values: Array, valid: NDArray[np.bool_]) -> Array:
    """Ranks 1.. among the valid entries of each list; 0 at the others."""
    # At infinity the others come last and do not shift the ranks of the valid ones.
    ranks = rankdata(np.where(valid, values, np.inf), axis=-1)
    return np.where(valid, ranks, 0.0)


def _pearson(first: Array, second: Array, valid: NDArray[np.bool_]) -> Array:
    """Pearson's correlation of ranks over the valid entries of each list."""
    count = valid.sum(-1)
    # The mean of ranks 1 to n, with ties, too.
    middle = (count[..., None] + 1) / 2
    a, b = np.where(valid, first - middle, 0.0), np.where(valid, second - middle, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        rho = (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    return np.where(count >= 3, rho, np.nan)


def kendall(first: Array, second: Array) -> Array:
    """Kendall's tau-b: pairs in the same order less those in the other, over pairs without ties.

    NaN if one list is constant.
    """
    first, second = np.broadcast_arrays(first, second)
    valid = np.isfinite(first) & np.isfinite(second)
    one, other = np.triu_indices(first.shape[-1], 1)
    signs = []
    for values in (first, second):
        known = np.where(valid, values, np.nan)
        # A pair with a missing entry counts as a tie in both.
        signs.append(np.nan_to_num(np.sign(known[..., one] - known[..., other])))
    x, y = signs
    with np.errstate(invalid="ignore", divide="ignore"):
        tau: Array = (x * y).sum(-1) / np.sqrt((x**2).sum(-1) * (y**2).sum(-1))
    return tau


def exact_order_p(first: Array, second: Array) -> float:
    """One-sided p of Kendall's tau of two lists (n,): the share of orders that agree as much.

    All n! orders of the second list up to `MOST_ORDERED` entries; beyond, `DRAWS` random ones and
    the observed one. NaN if one list is constant.
    """
    observed = kendall(first, second)
    if not np.isfinite(observed):
        return float("nan")
    count = len(second)
    if count <= MOST_ORDERED:
        orders = np.array(list(permutations(range(count))))
    else:
        rng = np.random.default_rng(0)
        drawn = [rng.permutation(count) for _ in range(DRAWS)]
        orders = np.stack([np.arange(count), *drawn])
    # Rounding must not tell equal values apart.
    return float((kendall(first, second[orders]) >= observed - 1e-12).mean())

"""Figures about one accuracy, one list of p-values, or one list of measurements."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
from scipy.special import ndtri

from suite.stats.spread import Kind, Spread


def wilson(right: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for `right` hits in `n` images (Wilson 1927)."""
    if not 0 <= right <= n or n < 1:
        raise ValueError(f"{right} of {n} is not a share")
    z = float(ndtri((1 + level) / 2))
    share = right / n
    shrunk = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / shrunk
    half = z / shrunk * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # Rounding could leave [0, 1] at 0 and n hits.
    return max(0.0, centre - half), min(1.0, centre + half)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values, in the order passed (Holm 1979).

    They bound the probability of any false rejection in the family.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        # An adjusted p never falls below that of a smaller one.
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def median_interval(values: Sequence[float]) -> tuple[float, Spread]:
    """Median of independent `values`, and its interval between two order statistics.

    The interval from the k-th smallest to the k-th largest of n covers the true median with
    probability 1 - 2 P(Binomial(n, 1/2) < k), whatever the distribution; k is the largest for which
    that is at least 95 %. Fewer than six values do not reach 95 %: then it is their range, and
    its `kind` says so.
    """
    # imported late: it takes a second, for which commands that only print tables need not wait
    from scipy.stats import binom

    ordered = np.sort(np.asarray(values, dtype=float))
    count = len(ordered)
    if not count:
        raise ValueError("there is no median of nothing")
    rank = 1
    kind: Kind = "range"
    for k in range(1, (count + 1) // 2 + 1):
        if 1 - 2 * binom.cdf(k - 1, count, 0.5) >= 0.95:
            rank, kind = k, "interval"
    low, high = float(ordered[rank - 1]), float(ordered[count - rank])
    return float(np.median(ordered)), Spread(low, high, kind)

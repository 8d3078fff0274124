"""The median of a few measurements with an interval that assumes nothing of their distribution."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import binom

from suite.stats.paired import Spread


def median_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, Spread]:
    """Median of independent `values` and the interval of it between two order statistics.

    The interval from the k-th smallest to the k-th largest of n holds the true median with
    probability 1 - 2 P(Binomial(n, 1/2) < k); k is the largest for which that is at least `level`.
    Fewer than six values do not reach 95 %: then it is their range, and its `kind` says so.
    """
    ordered = np.sort(np.asarray(values, dtype=float))
    count = len(ordered)
    if not count:
        raise ValueError("there is no median of nothing")
    ranks = [
        k for k in range(1, (count + 1) // 2 + 1) if 1 - 2 * binom.cdf(k - 1, count, 0.5) >= level
    ]
    k = max(ranks, default=1)
    spread = Spread(
        float(ordered[k - 1]), float(ordered[count - k]), "interval" if ranks else "range"
    )
    return float(np.median(ordered)), spread

"""Accuracy kept: the share of its dense accuracy that a reduced model still has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from suite.stats.correctness import Outcomes
from suite.stats.paired import ENDS
from suite.stats.spread import Spread

Pair = tuple[Outcomes, Outcomes]
"""Outcomes of the dense model, of one seed, and of the reduced one on the same images."""


def kept(pair: Pair) -> float:
    """Accuracy of the reduced model, mean over seeds, over that of the dense one; NaN over 0."""
    dense, reduced = pair
    return reduced.accuracy / dense.accuracy if dense.accuracy else float("nan")


def kept_spread(pair: Pair) -> Spread:
    """Percentile bootstrap of `kept` over images; of several seeds the envelope."""
    return _spread([pair], lambda ratios: ratios[0])


def difference_spread(one: Pair, other: Pair) -> Spread:
    """Percentile bootstrap of ``kept(one) - kept(other)``, of the same images."""
    return _spread([one, other], lambda ratios: ratios[0] - ratios[1])


def _spread(
    pairs: list[Pair],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> Spread:
    """From the lowest bound to the highest over every choice of one seed for each pair."""
    by_seed = []
    for dense, reduced in pairs:
        by_seed.append([(dense, seed) for seed in reduced.each_seed()])
    lows, highs = [], []
    for single in product(*by_seed):
        values = statistic(_ratios(single))
        low, high = np.nanquantile(values, ENDS)
        slack = sum(_unseen(*pair) for pair in single)
        lows.append(low - slack)
        highs.append(high + slack)
    return Spread(float(min(lows)), float(max(highs)), "range" if len(lows) > 1 else "interval")


def _ratios(single: Sequence[Pair]) -> NDArray[np.float64]:
    """Share kept of each pair of single seeds (pairs, draws), in the same draws of images."""
    sides = [side for pair in single for side in pair]
    accuracies = type(sides[0]).drawn(sides)
    dense, reduced = accuracies[0::2], accuracies[1::2]
    return np.divide(reduced, dense, out=np.full_like(reduced, np.nan), where=dense > 0)


def _unseen(dense: Outcomes, reduced: Outcomes) -> float:
    """Width that resampling misses if both agree on every image: Clopper and Pearson's bound."""
    if any(dense.paired(reduced).ahead):
        return 0.0
    images = dense.count
    bound = 1 - ENDS[0] ** (1 / images)
    return float(bound / max(dense.accuracy, 1 / images))  # as a share of the dense accuracy

"""Accuracy kept: the share of its dense accuracy that a reduced model still has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from suite.stats.correctness import Bits
from suite.stats.paired import DRAWS, ENDS, Spread

Pair = tuple[Bits, Bits]
"""Hits of the dense model (n,) and of the reduced one (S, n) on the same images."""


def kept(pair: Pair) -> float:
    """Accuracy of the reduced model, mean over seeds, over that of the dense one; NaN over 0."""
    dense, reduced = pair
    return float(reduced.mean() / dense.mean()) if dense.any() else float("nan")


def kept_spread(pair: Pair) -> Spread:
    """Percentile bootstrap of `kept` over images; of several seeds the envelope."""
    return _spread([pair], lambda ratios: ratios[0])


def difference_spread(one: Pair, other: Pair) -> Spread:
    """Percentile bootstrap of ``kept(one) - kept(other)``, of the same images in the same order."""
    return _spread([one, other], lambda ratios: ratios[0] - ratios[1])


def _spread(
    pairs: list[Pair],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> Spread:
    """From the lowest bound to the highest over every choice of one seed for each pair."""
    by_seed = []
    for dense, reduced in pairs:
        by_seed.append([(dense, hits) for hits in reduced])
    lows, highs = [], []
    for hits in product(*by_seed):
        values = statistic(_ratios(hits))
        low, high = np.nanquantile(values, ENDS)
        slack = sum(_unseen(*pair) for pair in hits)
        lows.append(low - slack)
        highs.append(high + slack)
    return Spread(float(min(lows)), float(max(highs)), "range" if len(lows) > 1 else "interval")


def _ratios(hits: Sequence[Pair]) -> NDArray[np.float64]:
    """Share kept of each pair (pairs, DRAWS) in images drawn with replacement.

    All pairs have the same images in a draw.
    """
    # Rows alternate, dense and reduced; a column is what all say of one image.
    table = np.concatenate([np.stack(pair) for pair in hits])
    # Images with equal columns are one class of a multinomial draw (see `suite.stats.paired`).
    patterns, how_many = np.unique(table, axis=1, return_counts=True)
    images = int(how_many.sum())
    drawn = np.random.default_rng(0).multinomial(images, how_many / images, size=DRAWS)
    counts = patterns.astype(float) @ drawn.T
    dense, reduced = counts[0::2], counts[1::2]
    return np.divide(reduced, dense, out=np.full_like(reduced, np.nan), where=dense > 0)


def _unseen(dense: Bits, reduced: Bits) -> float:
    """Width that resampling misses if both agree on every image: Clopper and Pearson's bound."""
    if (dense != reduced).any():
        return 0.0
    images = len(dense)
    bound = 1 - ENDS[0] ** (1 / images)
    return float(bound / max(dense.mean(), 1 / images))  # as a share of the dense accuracy

"""Accuracy kept: what share of its dense accuracy a reduced model still has, and how two backbones differ in that."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
from numpy.typing import NDArray

from suite.stats.correctness import Bits
from suite.stats.paired import DRAWS, Spread

Pair = tuple[Bits, Bits]
"""Hits of the dense model (n,) and of the reduced one (S, n) on the same images."""


def kept(pair: Pair) -> float:
    """Accuracy of the reduced model, mean over seeds, over that of the dense one; NaN where that is never right."""
    dense, reduced = pair
    return float(reduced.mean() / dense.mean()) if dense.any() else float("nan")


def kept_spread(pair: Pair, *, level: float = 0.95, seed: int = 0) -> Spread:
    """Percentile bootstrap of `kept` over images; with several seeds the envelope of the seeds' intervals."""
    return _spread([pair], lambda ratios: ratios[0], level, seed)


def difference_spread(one: Pair, other: Pair, *, level: float = 0.95, seed: int = 0) -> Spread:
    """The same of ``kept(one) - kept(other)``; both pairs saw the same images in the same order."""
    return _spread([one, other], lambda ratios: ratios[0] - ratios[1], level, seed)


def _spread(
    pairs: list[Pair],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    level: float,
    seed: int,
) -> Spread:
    """Over every choice of one seed for each pair: from the lowest bound to the highest."""
    bounds = []
    for chosen in product(*(range(len(reduced)) for _, reduced in pairs)):
        hits = [
            (dense, reduced[index]) for (dense, reduced), index in zip(pairs, chosen, strict=True)
        ]
        values = statistic(_ratios(hits, seed))
        slack = sum(_unseen(*pair, level) for pair in hits)
        bounds.append(
            np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2]) + np.array([-slack, slack])
        )
    low, high = np.min(bounds, axis=0)[0], np.max(bounds, axis=0)[1]
    several = any(len(reduced) > 1 for _, reduced in pairs)
    return Spread(float(low), float(high), "range" if several else "interval")


def _ratios(hits: list[tuple[Bits, Bits]], seed: int) -> NDArray[np.float64]:
    """Share kept of each pair (pairs, DRAWS) in images drawn with replacement, the same images for all pairs."""
    table = np.stack([row for pair in hits for row in pair])
    patterns, how_many = np.unique(table, axis=1, return_counts=True)
    images = int(how_many.sum())
    drawn = np.random.default_rng(seed).multinomial(images, how_many / images, size=DRAWS)
    counts = patterns.astype(float) @ drawn.T
    return np.divide(
        counts[1::2], counts[0::2], out=np.full_like(counts[1::2], np.nan), where=counts[0::2] > 0
    )


def _unseen(dense: Bits, reduced: Bits, level: float) -> float:
    """What resampling cannot see where no image tells the two apart: Clopper and Pearson's bound, as a share kept."""
    if (dense != reduced).any():
        return 0.0
    return float((1 - ((1 - level) / 2) ** (1 / len(dense))) / max(dense.mean(), 1 / len(dense)))

"""How much of what a reduction loses is won back by training under it."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from suite.stats.correctness import Bits
from suite.stats.paired import ENDS
from suite.stats.spread import Spread

Interval = tuple[float, Spread]


def won_back(dense: Bits, before: Bits, after: Bits) -> Interval | None:
    """Share of the loss that is won back, (after - before) / (dense - before), and its interval.

    `dense` (n,) are hits of the whole model, `before` (S, n) and `after` (T, n) those of the
    reduced one with the weights as they came and retrained, averaged over seeds. The interval, of
    95 %, is Fieller's (1954) for a ratio of two means over the same images. None where the loss
    itself is not shown at that level: a share of it would have no bounds.
    """
    gain = after.mean(axis=0) - before.mean(axis=0)
    loss = dense - before.mean(axis=0)
    images = len(loss)
    if images < 2:
        return None
    top, bottom = float(gain.mean()), float(loss.mean())
    (gains, both), (_, losses) = np.cov(gain, loss) / images
    square = float(ndtri(ENDS[1])) ** 2
    # Those shares s for which gain - s loss may have a mean of zero: between the roots of
    # a s^2 - 2 b s + c.
    a, b, c = bottom**2 - square * losses, top * bottom - square * both, top**2 - square * gains
    if bottom <= 0 or a <= 0:
        return None
    half = float(np.sqrt(max(b**2 - a * c, 0.0)))
    slack = unseen(gain, loss) / bottom
    return top / bottom, Spread(float((b - half) / a) - slack, float((b + half) / a) + slack)


def unseen(gain: np.ndarray, loss: np.ndarray) -> float:
    """What no image shows if all or nothing is won back: Clopper and Pearson's bound of none."""
    if gain.any() and (gain != loss).any():
        return 0.0
    return float(1 - ENDS[0] ** (1 / len(loss)))

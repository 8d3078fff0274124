"""Means over images of quantities that are numbers, with their intervals."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from suite.stats.paired import DRAWS

Array = NDArray[np.float64]


class Mean(NamedTuple):
    """Means with the bounds of their intervals and how many images each is of, all of one shape."""

    mean: Array
    low: Array
    high: Array
    images: NDArray[np.int64]


def mean_over_images(values: Array, *, level: float = 0.95, seed: int = 0) -> Mean:
    """Mean of `values` (n, ...) over n images, and its percentile bootstrap interval over them.

    NaN is an image that a column does not speak of. A column of fewer than two images has no
    interval (NaN), one of none no mean.
    """
    flat = values.reshape(len(values), -1)
    known = np.isfinite(flat)
    filled = np.where(known, flat, 0.0)
    images = known.sum(0)
    draws = np.random.default_rng(seed).multinomial(
        len(flat), np.full(len(flat), 1 / len(flat)), size=DRAWS
    )
    enough = images > 1
    mean, low, high = np.full((3, flat.shape[1]), np.nan)
    np.divide(filled.sum(0), images, out=mean, where=images > 0)
    if enough.any():
        with np.errstate(invalid="ignore"):  # a draw may miss every image that a column speaks of
            resampled = (draws @ filled[:, enough]) / (draws @ known[:, enough])
        quantile = (
            np.quantile if np.isfinite(resampled).all() else np.nanquantile
        )  # the second is far slower
        low[enough], high[enough] = quantile(resampled, [(1 - level) / 2, (1 + level) / 2], axis=0)
    shape = values.shape[1:]
    return Mean(mean.reshape(shape), low.reshape(shape), high.reshape(shape), images.reshape(shape))

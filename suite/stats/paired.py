"""Two methods on the same images: exact tests, and bootstrap intervals over images."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import lcm
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from suite.stats.correctness import Bits
from suite.stats.spread import Spread

SEEDS_FOR_INTERVAL = 5  # fewer say too little of how seeds are distributed
DRAWS = 4000
ENDS = ((1 - 0.95) / 2, (1 + 0.95) / 2)  # quantiles at which a 95 % interval ends
KNOWN = 1 << 14  # results that are kept
ROUNDING = 1e-13  # of a p by convolution

Array = NDArray[np.float64]


class Mean(NamedTuple):
    """Means, the bounds of their intervals, and the images of each; all of one shape."""

    mean: Array
    low: Array
    high: Array
    images: NDArray[np.int64]


def sign_flip(first: Bits, second: Bits) -> float:
    """Exact two-sided p of the mean difference of hits (S, n) and (T, n), averaged over seeds.

    Under the null hypothesis each image's difference is as likely with the other sign. The
    distribution of the sum is the convolution of one binomial for each size of difference; for one
    seed each it is McNemar's test. It is about the seeds that were run, not about seeds in general.
    Below 1e-13 the convolution is rounding, and 1e-13 is returned; no p is 0.
    """
    # In units of one hit under one seed, the differences are whole numbers.
    scale = lcm(len(first), len(second))
    hits = first.sum(axis=0) * (scale // len(first))
    difference = hits - second.sum(axis=0) * (scale // len(second))
    sizes, how_many = np.unique(np.abs(difference[difference != 0]), return_counts=True)
    if not sizes.size:
        return 1.0
    # All differences of one size: a binomial, as in McNemar's test, without rounding.
    if sizes.size == 1:
        positive = int((difference > 0).sum())
        return _mcnemar(positive, int(how_many[0]))
    # imported late, as SciPy's statistics everywhere: commands that only print tables need not wait
    from scipy.signal import fftconvolve
    from scipy.stats import binom

    distribution = np.ones(1)
    for size, images in zip(sizes, how_many, strict=True):
        # The sum of `images` signs times `size` takes every second multiple of it.
        steps = np.zeros(2 * size * images + 1)
        steps[:: 2 * size] = binom.pmf(np.arange(images + 1), images, 0.5)
        distribution = fftconvolve(distribution, steps)
    # Centred: entry `reach` is a sum of zero.
    reach = len(distribution) // 2
    outside = np.abs(np.arange(-reach, reach + 1)) >= abs(int(difference.sum()))
    return float(np.clip(distribution[outside].sum(), ROUNDING, 1.0))


# The tables of a run ask of the same pairs of methods again and again, and all that an exact test
# or a bootstrap of one seed each depends on is how many images favour which of the two.
@lru_cache(KNOWN)
def _mcnemar(favour: int, discordant: int) -> float:
    """Exact two-sided p of McNemar's test."""
    from scipy.stats import binomtest

    p = float(binomtest(favour, discordant).pvalue)
    # thousands of images that all favour one method have a p below the smallest number
    return max(p, float(np.finfo(float).tiny))


def bootstrap(first: Bits, second: Bits, alpha: float = 0.05, seed: int = 0) -> Spread:
    """Percentile bootstrap, at level 1 - `alpha`, of the difference of hits (S, n) and (T, n).

    Images are drawn with replacement, and seeds too if there are several. With 2 to 4 seeds the
    result is a range over seeds. If the methods agree on every image, resampling would give a width
    of zero; the bound is then Clopper and Pearson's for a share of discordant images of which none
    was seen.
    """
    if any(1 < len(hits) < SEEDS_FOR_INTERVAL for hits in (first, second)):
        return _range(first, second, alpha, seed)
    if len(first) == len(second) == 1:
        return _images_only(first[0], second[0], alpha, seed)
    return _images_and_seeds(first, second, alpha, seed)


def corrected_interval(first: Bits, second: Bits, p: float, alpha: float) -> Spread:
    """Interval of the difference of hits (S, n) and (T, n) that agrees with the test at `alpha`.

    `bootstrap` at level 1 - `alpha`, p being `sign_flip`'s. Where the test does not reject, the
    interval is extended to zero unless it holds it. Where the test rejects, with one seed each, it
    ends at least one image before zero, which is the smallest difference that resampling can give.
    So the interval of a smaller `alpha` contains that of a larger one. An interval over several
    seeds may hold zero although the test, which is about these seeds alone, rejects it.
    """
    spread = bootstrap(first, second, alpha)
    if p >= alpha:
        return replace(spread, low=min(spread.low, 0.0), high=max(spread.high, 0.0))
    if len(first) * len(second) > 1:
        return spread
    image = 1 / first.shape[1]
    if first.mean() > second.mean():
        return replace(spread, low=max(spread.low, image))
    return replace(spread, high=min(spread.high, -image))


def _images_only(first: Bits, second: Bits, alpha: float, seed: int) -> Spread:
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    return _of_counts(len(first), only_first, only_second, alpha, seed)


@lru_cache(KNOWN)
def _of_counts(n: int, only_first: int, only_second: int, alpha: float, seed: int) -> Spread:
    if only_first == only_second == 0:
        unseen = 1 - (alpha / 2) ** (1 / n)
        return Spread(-unseen, unseen)
    # Only how many images fall into each of three classes matters, so those counts are drawn.
    shares = [only_first / n, only_second / n, 1 - (only_first + only_second) / n]
    draws = np.random.default_rng(seed).multinomial(n, shares, size=DRAWS)
    return _percentiles((draws[:, 0] - draws[:, 1]) / n, alpha)


def _range(first: Bits, second: Bits, alpha: float, seed: int) -> Spread:
    single = [_images_only(one, two, alpha, seed) for one in first for two in second]
    return Spread(min(each.low for each in single), max(each.high for each in single), "range")


def _images_and_seeds(first: Bits, second: Bits, alpha: float, seed: int) -> Spread:
    # Images with the same outcomes under all seeds are one class of a multinomial draw, which
    # makes 50,000 images as cheap as 50.
    patterns, how_many = np.unique(np.concatenate([first, second]), axis=1, return_counts=True)
    n, rng = int(how_many.sum()), np.random.default_rng(seed)
    # Both methods draw their seeds apart, as these are not paired.
    weights = [_seed_weights(rng, len(first)), -_seed_weights(rng, len(second))]
    images = rng.multinomial(n, how_many / n, size=DRAWS)
    differences = np.einsum(
        "ds,sp,dp->d",
        np.concatenate(weights, axis=1),
        patterns.astype(float),
        images,
        optimize=True,
    )
    return _percentiles(differences / n, alpha)


def _seed_weights(rng: np.random.Generator, seeds: int) -> Array:
    """Weight of each seed in each draw (DRAWS, seeds), rows adding to 1."""
    return rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=DRAWS) / seeds


def _percentiles(values: Array, alpha: float) -> Spread:
    low, high = np.quantile(values, [alpha / 2, 1 - alpha / 2])
    return Spread(float(low), float(high))


def mean_over_images(values: Array) -> Mean:
    """Mean of `values` (n, ...) over n images, and its percentile bootstrap interval.

    NaN marks an image without a value. A column with fewer than two values has no interval (NaN), a
    column without any no mean.
    """
    flat = values.reshape(len(values), -1)
    valid = np.isfinite(flat)
    filled = np.where(valid, flat, 0.0)
    images = valid.sum(0)
    equal = np.full(len(flat), 1 / len(flat))
    draws = np.random.default_rng(0).multinomial(len(flat), equal, size=DRAWS)
    enough = images > 1
    mean, low, high = np.full((3, flat.shape[1]), np.nan)
    np.divide(filled.sum(0), images, out=mean, where=images > 0)
    if enough.any():
        with np.errstate(invalid="ignore"):  # a draw may miss every image with a value
            resampled = (draws @ filled[:, enough]) / (draws @ valid[:, enough])
        # The second is far slower, and only needed for such draws.
        quantile = np.quantile if np.isfinite(resampled).all() else np.nanquantile
        low[enough], high[enough] = quantile(resampled, ENDS, axis=0)
    shape = values.shape[1:]
    return Mean(mean.reshape(shape), low.reshape(shape), high.reshape(shape), images.reshape(shape))

"""Two methods on the same images: exact tests, and bootstrap intervals of their difference in accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve
from scipy.stats import binom, binomtest

from suite.stats.correctness import Bits

SEEDS_FOR_INTERVAL = 5
DRAWS = 4000
ROUNDING = 1e-13


@dataclass(frozen=True)
class McNemar:
    """`only_first` images are right only with the first method, `only_second` only with the second; exact two-sided p."""

    only_first: int
    only_second: int
    p: float


@dataclass(frozen=True)
class Spread:
    """Where a difference may lie.

    `kind` "interval" is a confidence interval. "range" is what too few seeds allow: from the lowest
    to the highest bound among the intervals of the single seeds.
    """

    low: float
    high: float
    kind: Literal["interval", "range"] = "interval"


def mcnemar(first: Bits, second: Bits) -> McNemar:
    """McNemar's exact test of two methods' hits (n,) on the same images: a fair coin over the discordant ones."""
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    p = binomtest(only_first, only_first + only_second).pvalue if only_first + only_second else 1.0
    return McNemar(only_first, only_second, float(p))


def sign_flip(first: Bits, second: Bits) -> float:
    """Exact two-sided p of the mean difference of hits (S, n) and (T, n), averaged over seeds for each image.

    Under the null hypothesis each image's difference is as likely with the other sign. The
    distribution of the sum is the convolution of one binomial for each size of difference; for one
    seed each it is McNemar's test. It speaks of the seeds that were run, not of seeds in general.
    Below 1e-13 the convolution is rounding, and 1e-13 is returned.
    """
    scale = lcm(len(first), len(second))
    weights = scale // len(first), scale // len(second)
    difference = first.sum(axis=0) * weights[0] - second.sum(axis=0) * weights[1]
    sizes, how_many = np.unique(np.abs(difference[difference != 0]), return_counts=True)
    if not sizes.size:
        return 1.0
    if sizes.size == 1:
        positive = int((difference > 0).sum())
        return float(binomtest(positive, int(how_many[0])).pvalue)
    distribution = np.ones(1)
    for size, images in zip(sizes, how_many, strict=True):
        steps = np.zeros(2 * size * images + 1)
        steps[:: 2 * size] = binom.pmf(np.arange(images + 1), images, 0.5)
        distribution = fftconvolve(distribution, steps)
    reach = len(distribution) // 2
    outside = np.abs(np.arange(-reach, reach + 1)) >= abs(int(difference.sum()))
    return float(np.clip(distribution[outside].sum(), ROUNDING, 1.0))


def bootstrap(first: Bits, second: Bits, *, level: float = 0.95, seed: int = 0) -> Spread:
    """Percentile bootstrap of the difference in accuracy of hits (S, n) and (T, n), first minus second.

    Images are drawn with replacement, and seeds too where there are several; images with the same
    outcomes under all seeds are one category of a multinomial draw, which makes 50,000 images as
    cheap as 50. With 2 to 4 seeds the result is a range over seeds. Where no image tells the
    methods apart, resampling would give a width of zero; the bound is then Clopper and Pearson's
    for a share of discordant images of which none was seen.
    """
    if any(1 < len(hits) < SEEDS_FOR_INTERVAL for hits in (first, second)):
        return _range(first, second, level, seed)
    if len(first) == len(second) == 1:
        return _images_only(first[0], second[0], level, seed)
    return _images_and_seeds(first, second, level, seed)


def _images_only(first: Bits, second: Bits, level: float, seed: int) -> Spread:
    n = len(first)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    if only_first == only_second == 0:
        unseen = 1 - ((1 - level) / 2) ** (1 / n)
        return Spread(-unseen, unseen)
    draws = np.random.default_rng(seed).multinomial(
        n, [only_first / n, only_second / n, 1 - (only_first + only_second) / n], size=DRAWS
    )
    return _percentiles((draws[:, 0] - draws[:, 1]) / n, level)


def _range(first: Bits, second: Bits, level: float, seed: int) -> Spread:
    single = [_images_only(one, two, level, seed) for one in first for two in second]
    return Spread(min(each.low for each in single), max(each.high for each in single), "range")


def _images_and_seeds(first: Bits, second: Bits, level: float, seed: int) -> Spread:
    patterns, how_many = np.unique(np.concatenate([first, second]), axis=1, return_counts=True)
    n, rng = int(how_many.sum()), np.random.default_rng(seed)
    signed = np.concatenate(
        [_seed_weights(rng, len(first)), -_seed_weights(rng, len(second))], axis=1
    )
    images = rng.multinomial(n, how_many / n, size=DRAWS)
    return _percentiles(
        np.einsum("ds,sp,dp->d", signed, patterns.astype(float), images, optimize=True) / n, level
    )


def _seed_weights(rng: np.random.Generator, seeds: int) -> NDArray[np.float64]:
    """How much each seed counts in each draw (DRAWS, seeds), rows adding to 1."""
    return rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=DRAWS) / seeds


def _percentiles(values: NDArray[np.float64], level: float) -> Spread:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Spread(float(low), float(high))

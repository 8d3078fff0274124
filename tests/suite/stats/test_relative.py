"""Accuracy kept: against the delta method, resampling one image at a time, and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from suite.stats import relative
from suite.stats.hits import Hits
from suite.stats.spread import Spread

Bits = NDArray[np.bool_]
Pair = tuple[Bits, Bits]


def outcomes(pair: Pair) -> relative.Pair:
    numbers = np.arange(len(pair[0]))
    return Hits("none", pair[0][None], numbers), Hits("mtr", pair[1], numbers)


def kept(pair: Pair) -> float:
    return relative.kept(outcomes(pair))


def kept_spread(pair: Pair) -> Spread:
    return relative.kept_spread(outcomes(pair))


def difference_spread(one: Pair, other: Pair) -> Spread:
    return relative.difference_spread(outcomes(one), outcomes(other))


def drawn(seed: int, images: int, dense: float, falls: float, rises: float, seeds: int = 1) -> Pair:
    rng = np.random.default_rng(seed)
    right = rng.random(images) < dense
    flip = rng.random((seeds, images)) < np.where(right, falls, rises)
    return right, right ^ flip


def delta_method(pair: Pair) -> tuple[float, float]:
    """95 % interval of a ratio of two paired means, by its linearisation."""
    dense, reduced = pair[0].astype(float), pair[1][0].astype(float)
    ratio = reduced.mean() / dense.mean()
    width = 1.96 * (reduced - ratio * dense).std() / math.sqrt(len(dense)) / dense.mean()
    return ratio - width, ratio + width


def test_the_share_is_that_of_the_dense_accuracy() -> None:
    dense = np.array([True, True, True, True, False])
    reduced = np.array([[True, True, False, False, True], [True, True, True, True, False]])
    assert kept((dense, reduced)) == pytest.approx((3 + 4) / 2 / 4)
    assert math.isnan(kept((np.zeros(5, bool), reduced)))


@pytest.mark.parametrize(
    ("dense", "falls", "rises"), [(0.9, 0.1, 0.05), (0.5, 0.4, 0.1), (0.92, 0.02, 0.01)]
)
def test_the_interval_is_that_of_the_delta_method(dense: float, falls: float, rises: float) -> None:
    pair = drawn(1, 3000, dense, falls, rises)
    found, (low, high) = kept_spread(pair), delta_method(pair)
    assert found.kind == "interval"
    assert found.low == pytest.approx(low, abs=0.1 * (high - low))
    assert found.high == pytest.approx(high, abs=0.1 * (high - low))


def test_a_difference_is_paired_by_image() -> None:
    """Two models that lose the same images differ by nothing for certain; lost apart, they differ by chance."""
    dense, reduced = drawn(2, 2000, 0.9, 0.2, 0.0)
    other = drawn(3, 2000, 0.9, 0.2, 0.0)
    same = difference_spread((dense, reduced), (dense.copy(), reduced.copy()))
    assert same.low == same.high == 0
    apart = difference_spread((dense, reduced), other)
    assert apart.low < 0 < apart.high
    one_image_at_a_time = []
    rng = np.random.default_rng(9)
    for _ in range(2000):
        chosen = rng.integers(0, 2000, 2000)
        shares = [
            pair[1][0][chosen].mean() / pair[0][chosen].mean() for pair in ((dense, reduced), other)
        ]
        one_image_at_a_time.append(shares[0] - shares[1])
    low, high = np.quantile(one_image_at_a_time, [0.025, 0.975])
    assert (apart.low, apart.high) == pytest.approx((low, high), abs=0.1 * (high - low))


def test_where_nothing_was_lost_the_bound_is_that_of_an_event_never_seen() -> None:
    dense = np.random.default_rng(4).random(400) < 0.8
    found = kept_spread((dense, dense[None]))
    unseen = 1 - 0.025 ** (1 / 400)
    assert (found.low, found.high) == pytest.approx(
        (1 - unseen / dense.mean(), 1 + unseen / dense.mean())
    )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), seeds=st.integers(2, 3))
def test_several_seeds_give_the_envelope_of_single_ones(seed: int, seeds: int) -> None:
    dense, reduced = drawn(seed, 60, 0.8, 0.3, 0.2, seeds)
    whole = kept_spread((dense, reduced))
    single = [kept_spread((dense, row[None])) for row in reduced]
    assert whole.kind == "range"
    assert (whole.low, whole.high) == (min(s.low for s in single), max(s.high for s in single))
    assert whole.low <= kept((dense, reduced)) <= whole.high

"""The interval of a median, against counting every way in which values can fall on its two sides."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.stats import median_interval


def coverage(count: int, k: int) -> float:
    """Share of all 2^n ways to fall below or above the median in which the k-th smallest and largest enclose it."""
    ways = [sum(sides) for sides in product((0, 1), repeat=count)]
    return sum(k <= below <= count - k for below in ways) / len(ways)


@pytest.mark.parametrize("count", range(1, 13))
def test_the_narrowest_pair_of_ranks_that_covers(count: int) -> None:
    values = np.random.default_rng(count).permutation(count).astype(float)
    median, spread = median_interval(values.tolist())
    assert median == np.median(values)
    fitting = [k for k in range(1, (count + 1) // 2 + 1) if coverage(count, k) >= 0.95]
    k = max(fitting, default=1)
    assert (spread.low, spread.high) == (k - 1, count - k)
    assert spread.kind == ("interval" if fitting else "range")
    assert (spread.kind == "interval") == (count >= 6)


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=30))
def test_the_median_lies_inside(values: list[float]) -> None:
    median, spread = median_interval(values)
    assert min(values) <= spread.low <= median <= spread.high <= max(values)


def test_nothing_has_no_median() -> None:
    with pytest.raises(ValueError, match="nothing"):
        median_interval([])

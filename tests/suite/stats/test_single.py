"""Wilson, Holm, the smallest detectable difference, and the interval of a median."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from suite.stats.paired import sign_flip
from suite.stats.power import smallest_detectable
from suite.stats.single import holm, median_interval, wilson


@given(st.integers(1, 5000), st.data())
def test_wilson_against_scipy(n: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, n))
    interval = binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert wilson(right, n) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_wilson_by_hand_and_wrong_counts() -> None:
    """Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    for right, n in ((5, 4), (-1, 4), (0, 0)):
        with pytest.raises(ValueError, match="not a share"):
            wilson(right, n)


def test_holm_by_hand() -> None:
    """0.01 x 4, 0.02 x 3, then 0.03 x 2 = 0.06 and 0.04 raised to it."""
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values: list[float]) -> None:
    """The procedure as published: reject from the smallest on while p < 0.05 / (m - rank)."""
    rejected = set()
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[index] * (len(p_values) - rank) > 0.05:
            break
        rejected.add(index)
    assert {index for index, p in enumerate(holm(p_values)) if p <= 0.05} == rejected


@pytest.mark.parametrize(
    ("n", "discordance"),
    [
        (500, 0.05),
        (500, 0.2),
        (2000, 0.01),
        pytest.param(2000, 0.1, marks=pytest.mark.slow),
        pytest.param(5000, 0.3, marks=pytest.mark.slow),
    ],
)
def test_smallest_detectable_difference_has_its_power(n: int, discordance: float) -> None:
    """3,000 simulated experiments at that difference: 80 % has a standard error of 0.7 points.

    The normal approximation is allowed 4 points below and, where only a handful of images differ, 9
    above.
    """
    delta = smallest_detectable(n, discordance)
    psi = max(discordance, delta)
    rng = np.random.default_rng(7)
    counts = rng.multinomial(n, [(psi + delta) / 2, (psi - delta) / 2, 1 - psi], size=3000)
    known = {}
    for gained, lost in {(int(g), int(w)) for g, w, _ in counts}:
        first, second = np.arange(gained + lost) < gained, np.arange(gained + lost) >= gained
        known[gained, lost] = sign_flip(first[None], second[None]) < 0.05
    power = np.mean([known[int(g), int(w)] for g, w, _ in counts])
    assert 0.76 <= power <= 0.89


def test_smallest_detectable_by_hand() -> None:
    """1,000 images, 10 % discordant: z_a sqrt(.1) + z_b sqrt(.1 - d^2) = d sqrt(1000) at d itself, plus 1/1000."""
    delta = smallest_detectable(1000, 0.1) - 0.001
    assert 1.959964 * 0.1**0.5 + 0.841621 * (0.1 - delta**2) ** 0.5 == pytest.approx(
        delta * 1000**0.5, rel=1e-5
    )


@given(st.integers(1, 10**6), st.floats(0, 1), st.floats(0, 1))
def test_smallest_detectable_is_sane(n: int, one: float, two: float) -> None:
    low, high = sorted((one, two))
    assert 0 < smallest_detectable(n, low) <= smallest_detectable(n, high) <= 1
    assert smallest_detectable(4 * n, low) <= smallest_detectable(n, low)


def test_smallest_detectable_refuses_nonsense() -> None:
    for n, discordance in ((0, 0.1), (10, 1.1), (10, -0.1)):
        with pytest.raises(ValueError, match="no sense"):
            smallest_detectable(n, discordance)


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

"""Paired tests and intervals against enumeration, SciPy, and simulation."""

from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from suite.stats.paired import DRAWS, bootstrap, corrected_interval, mean_over_images, sign_flip

Bits = NDArray[np.bool_]


def bits(text: str) -> Bits:
    return np.array([letter == "1" for letter in text])


def mcnemar(first: Bits, second: Bits) -> float:
    """The test of one seed each."""
    return sign_flip(first[None], second[None])


def enumerated(difference: NDArray[np.int64]) -> float:
    """Two-sided p by trying every assignment of signs."""
    values = difference[difference != 0]
    observed = abs(values.sum())
    sums = [
        abs(sum(s * v for s, v in zip(signs, values, strict=True)))
        for signs in product((1, -1), repeat=len(values))
    ]
    return float(np.mean([total >= observed for total in sums]))


def test_mcnemar_by_hand() -> None:
    """Five for, one against: p = 2 (C(6,0) + C(6,1)) / 2^6 = 14 / 64."""
    assert mcnemar(bits("1111101011"), bits("0000011011")) == pytest.approx(14 / 64)


def test_mcnemar_of_equal_methods() -> None:
    assert mcnemar(bits("1010"), bits("1010")) == 1.0


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=12))
def test_mcnemar_is_enumeration_of_signs(pairs: list[tuple[bool, bool]]) -> None:
    first, second = np.array(pairs).T
    assert mcnemar(first, second) == pytest.approx(
        enumerated(first.astype(int) - second.astype(int))
    )


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (3, 0), (40, 21), (500, 400)])
def test_mcnemar_against_the_binomial_written_out(gained: int, lost: int) -> None:
    first = np.repeat([True, False, True], [gained, lost, 50])
    second = np.repeat([False, True, True], [gained, lost, 50])
    n, k = gained + lost, min(gained, lost)
    expected = min(1.0, 2 * sum(comb(n, i) for i in range(k + 1)) / 2**n)
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-6)


@settings(max_examples=60)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 10), st.integers(0, 2**32 - 1))
def test_sign_flip_is_enumeration_of_signs(seeds: int, others: int, images: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.random((seeds, images)) < 0.6, rng.random((others, images)) < 0.4
    difference = first.sum(axis=0) * others - second.sum(axis=0) * seeds
    assert sign_flip(first, second) == pytest.approx(enumerated(difference), abs=1e-9)


def test_sign_flip_does_not_care_for_repeated_seeds_and_is_quick_on_imagenet() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.random((1, 50_000)) < 0.70, rng.random((3, 50_000)) < 0.69
    assert sign_flip(np.repeat(first, 3, axis=0), second) == pytest.approx(
        sign_flip(first, second), rel=1e-6
    )
    assert 1e-13 <= sign_flip(first, second & (rng.random(50_000) < 0.5)) < 1e-10


def test_bootstrap_is_the_same_every_time_and_antisymmetric_in_law() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.random((1, 800)) < 0.7, rng.random((1, 800)) < 0.6
    assert bootstrap(first, second) == bootstrap(first, second)
    assert bootstrap(first, second) != bootstrap(first, second, seed=1)
    there, back = bootstrap(first, second), bootstrap(second, first)
    assert there.low == pytest.approx(-back.high, abs=0.004)


def test_bootstrap_against_resampling_images_one_by_one() -> None:
    """Plain resampling with indices; both are Monte-Carlo quantiles (sd about 1.5 % of the width), hence 6 %."""
    rng = np.random.default_rng(2)
    first, second = rng.random(300) < 0.75, rng.random(300) < 0.6
    drawn = rng.integers(0, 300, size=(DRAWS, 300))
    means = first[drawn].mean(axis=1) - second[drawn].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    spread = bootstrap(first[None], second[None])
    assert spread.kind == "interval"
    assert abs(spread.low - low) < 0.06 * (high - low)
    assert abs(spread.high - high) < 0.06 * (high - low)


def test_bootstrap_over_images_and_seeds_against_plain_loops() -> None:
    rng = np.random.default_rng(3)
    skill = rng.random((6, 1)) * 0.3 + 0.4
    first, second = rng.random((6, 200)) < skill, rng.random((1, 200)) < 0.5
    means = []
    for _ in range(2000):
        seeds, images = rng.integers(0, 6, 6), rng.integers(0, 200, 200)
        means.append(first[seeds][:, images].mean() - second[:, images].mean())
    low, high = np.quantile(means, [0.025, 0.975])
    spread = bootstrap(first, second)
    assert spread.kind == "interval"
    assert abs(spread.low - low) < 0.06 * (high - low)
    assert abs(spread.high - high) < 0.06 * (high - low)
    fixed = bootstrap(first[:1], second)
    assert spread.high - spread.low > 0
    assert fixed.kind == "interval"


def test_few_seeds_give_a_range_round_every_seed() -> None:
    rng = np.random.default_rng(4)
    first, second = rng.random((3, 400)) < 0.6, rng.random((1, 400)) < 0.5
    spread = bootstrap(first, second)
    assert spread.kind == "range"
    for one in first:
        single = bootstrap(one[None], second)
        assert spread.low <= single.low < single.high <= spread.high


def test_no_discordant_image_is_not_an_interval_of_width_zero() -> None:
    """Clopper and Pearson for none of n: 1 - 0.025^(1/n)."""
    hits = np.ones((1, 100), dtype=bool)
    spread = bootstrap(hits, hits)
    assert spread.high == pytest.approx(1 - 0.025 ** (1 / 100))
    assert spread.low == -spread.high


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    """600 experiments with 400 images; 95 % has a standard error of 0.9 points here, so 92.3 % is 3 of them below."""
    rng, truth, covered = np.random.default_rng(5), 0.06, 0
    draws = rng.choice(3, size=(600, 400), p=[0.13, 0.07, 0.80])
    for row in draws:
        spread = bootstrap((row == 0)[None], (row == 1)[None])
        covered += spread.low <= truth <= spread.high
    assert 0.923 <= covered / 600 <= 0.98


def test_mcnemar_keeps_its_level() -> None:
    """Equal methods: at most 5 % rejections (exact tests are conservative); 2,000 tries, 3 standard errors."""
    draws = np.random.default_rng(6).choice(3, size=(2000, 200), p=[0.1, 0.1, 0.8])
    rejected = np.mean([mcnemar(row == 0, row == 1) < 0.05 for row in draws])
    assert 0.01 < rejected < 0.05 + 3 * (0.05 * 0.95 / 2000) ** 0.5


LEVELS = (0.05, 0.025, 0.01, 0.05 / 6, 0.002)


@pytest.mark.parametrize("images", [14, 40])
def test_a_corrected_interval_contains_the_uncorrected_one(images: int) -> None:
    """Every split of up to 14 discordant images: nested over levels, at each as the test says."""
    for favour, against in product(range(15), repeat=2):
        if favour + against > 14:
            continue
        first, second = np.zeros((2, 1, images), dtype=bool)
        first[0, :favour] = True
        second[0, favour : favour + against] = True
        p = mcnemar(first[0], second[0])
        inner = corrected_interval(first, second, p, LEVELS[0])
        for level in LEVELS:
            spread = corrected_interval(first, second, p, level)
            counts = favour, against, level
            assert spread.low <= inner.low <= inner.high <= spread.high, counts
            assert (spread.low <= 0 <= spread.high) == (p >= level), counts
            assert spread.low <= (favour - against) / images <= spread.high, counts
            inner = spread


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([1, 2, 5]), st.integers(8, 30), st.integers(0, 2**32 - 1))
def test_a_corrected_interval_over_seeds_contains_the_uncorrected_one(
    seeds: int, images: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.random((seeds, images)) < 0.8, rng.random((1, images)) < 0.5
    p = sign_flip(first, second)
    inner = corrected_interval(first, second, p, LEVELS[0])
    for level in LEVELS:
        spread = corrected_interval(first, second, p, level)
        assert spread.low <= inner.low <= inner.high <= spread.high
        assert p < level or spread.low <= 0 <= spread.high
        inner = spread


def test_the_interval_is_that_of_the_mean() -> None:
    values = np.random.default_rng(1).normal(2.0, 3.0, (400, 2, 3))
    found = mean_over_images(values)
    np.testing.assert_allclose(found.mean, values.mean(0))
    half = 1.96 * values.std(0) / np.sqrt(400)
    np.testing.assert_allclose(found.high - found.mean, half, rtol=0.12)
    np.testing.assert_allclose(found.mean - found.low, half, rtol=0.12)
    assert (found.images == 400).all()


def test_images_that_a_column_does_not_speak_of_are_left_out() -> None:
    values = np.array(
        [[1.0, np.nan, np.nan], [3.0, 5.0, np.nan], [np.nan, 6.0, np.nan], [8.0, np.nan, 2.0]]
    )
    found = mean_over_images(values)
    np.testing.assert_allclose(found.mean, [4.0, 5.5, 2.0])
    assert found.images.tolist() == [3, 2, 1]
    assert np.isnan(found.low).tolist() == [False, False, True]
    assert found.low[0] == pytest.approx(1.0)
    assert found.high[1] == pytest.approx(6.0)


def test_nothing_known_is_no_mean() -> None:
    found = mean_over_images(np.full((3, 1), np.nan))
    assert np.isnan([found.mean, found.low, found.high]).all()

"""Rank statistics against scipy's, one list at a time."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau, mannwhitneyu, spearmanr

from suite.stats.rank_correlation import (
    exact_order_p,
    kendall,
    partial_spearman,
    percentile,
    separation,
    spearman,
)

FEW = st.integers(0, 4)  # few values: many ties


@given(st.lists(st.tuples(FEW, FEW, st.booleans()), min_size=0, max_size=12))
def test_spearman_is_scipys_on_what_is_known(rows: list[tuple[int, int, bool]]) -> None:
    first = np.array([a if known else np.nan for a, _, known in rows])
    second = np.array([b for _, b, _ in rows], dtype=float)
    kept = np.isfinite(first)
    found = float(spearman(first, second))
    if kept.sum() < 3 or len(set(first[kept])) < 2 or len(set(second[kept])) < 2:
        assert np.isnan(found)
    else:
        np.testing.assert_allclose(
            found, spearmanr(first[kept], second[kept]).statistic, atol=1e-12
        )


@given(st.lists(st.tuples(FEW, st.booleans()), min_size=0, max_size=12))
def test_separation_is_the_u_statistic(rows: list[tuple[int, bool]]) -> None:
    values = np.array([value for value, _ in rows], dtype=float)
    marked = np.array([mark for _, mark in rows], dtype=float)
    found = float(separation(values, marked))
    if 0 < marked.sum() < len(rows):
        u = mannwhitneyu(values[marked == 1], values[marked == 0]).statistic
        np.testing.assert_allclose(found, u / (marked.sum() * (1 - marked).sum()), atol=1e-12)
    else:
        assert np.isnan(found)


def test_percentiles_run_from_the_lowest_to_the_highest_known() -> None:
    found = percentile(np.array([[3.0, np.nan, 1.0, 2.0, 2.0], [5.0, 5.0, 5.0, 9.0, 0.0]]))
    np.testing.assert_allclose(found, [[1, np.nan, 0, 0.5, 0.5], [0.5, 0.5, 0.5, 1, 0]])
    assert np.isnan(percentile(np.array([4.0]))).all()


def test_lists_are_taken_side_by_side() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 3, 4, 30))
    found = spearman(first, second)
    assert found.shape == (3, 4)
    np.testing.assert_allclose(found[1, 2], spearmanr(first[1, 2], second[1, 2]).statistic)
    np.testing.assert_allclose(
        spearman(first, second[0, 0])[2, 3], spearmanr(first[2, 3], second[0, 0]).statistic
    )


def test_partial_correlation_takes_the_third_out() -> None:
    rng = np.random.default_rng(0)
    given_, noise, other = rng.normal(size=(3, 20_000))
    assert abs(float(partial_spearman(given_ + noise, given_ + other, given_))) < 0.05
    assert float(spearman(given_ + noise, given_ + other)) > 0.4
    assert float(partial_spearman(noise + other, noise, given_)) > 0.6


@given(st.lists(st.tuples(FEW, FEW, st.booleans()), min_size=2, max_size=9))
def test_kendall_is_scipys_on_what_is_known(rows: list[tuple[int, int, bool]]) -> None:
    first = np.array([a if known else np.nan for a, _, known in rows])
    second = np.array([b for _, b, _ in rows], dtype=float)
    kept = np.isfinite(first)
    found = float(kendall(first, second))
    if len(set(first[kept])) < 2 or len(set(second[kept])) < 2:
        assert np.isnan(found)
    else:
        expected = kendalltau(first[kept], second[kept]).statistic
        np.testing.assert_allclose(found, expected, atol=1e-12)
    both = kendall(np.stack([first, second]), second)
    np.testing.assert_allclose(both[0], found, equal_nan=True)


def test_the_p_of_an_order_is_scipys_exact_one() -> None:
    rng = np.random.default_rng(4)
    for count in (3, 4, 6, 7):
        first, second = rng.permutation(count).astype(float), rng.permutation(count).astype(float)
        expected = kendalltau(first, second, method="exact", alternative="greater").pvalue
        np.testing.assert_allclose(exact_order_p(first, second), expected, atol=1e-12)
    # Of three the best p is one in six; of more than are gone through, nearly the exact one.
    assert exact_order_p(np.arange(3.0), np.arange(3.0)) == 1 / 6
    many = np.array([0, 1, 2, 4, 3, 5, 8, 7, 6, 9], dtype=float)
    expected = kendalltau(np.arange(10), many, method="exact", alternative="greater").pvalue
    assert abs(exact_order_p(np.arange(10.0), many) - expected) < 1e-3
    assert np.isnan(exact_order_p(np.ones(4), np.arange(4.0)))

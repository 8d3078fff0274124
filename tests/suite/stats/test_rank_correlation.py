"""Rank statistics against scipy's, one list at a time."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, spearmanr

from suite.stats.rank_correlation import partial_spearman, percentile, separation, spearman

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

"""Kendall's tau against scipy's."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from suite import tau
from suite.tau import kendall


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(2, 40), st.sampled_from([1, 50, 1 << 22]))
def test_it_is_that_of_scipy(seed: int, batch: int, count: int, at_once: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.stack([rng.permutation(3 * count)[:count] for _ in range(batch)])
    wanted = [kendalltau(np.arange(count), row).statistic for row in values]
    before, tau.AT_ONCE = tau.AT_ONCE, at_once
    try:
        assert kendall(torch.from_numpy(values)).tolist() == pytest.approx(wanted)
    finally:
        tau.AT_ONCE = before


def test_sorted_reversed_and_alone() -> None:
    rows = torch.arange(6).expand(2, -1)
    assert kendall(rows).tolist() == [1, 1]
    assert kendall(rows.flip(1)).tolist() == [-1, -1]
    assert kendall(rows[:, :1]).tolist() == [1, 1]
    assert kendall(rows[:, :0]).tolist() == [1, 1]

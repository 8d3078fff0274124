"""Kendall's tau against scipy's."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from backbones.sequence import TokenSequence, new_sequence
from suite.evaluation.token_order import Integers, OrderTracker, all_pairs, inversions


def placed(rows: Integers, left_out: Integers) -> TokenSequence:
    """Tokens whose positions are the rows (B, L), those at the indices `left_out` special."""
    batch, length = rows.shape
    tokens = new_sequence(torch.zeros(batch, length, 1), range(left_out.shape[1]), (1, length, 1))
    position, special = torch.from_numpy(rows.copy()), torch.from_numpy(left_out)
    return TokenSequence(**{**vars(tokens), "position": position, "special": special})


def kendall(rows: Integers, left_out: Integers) -> torch.Tensor:
    tracker = OrderTracker()
    tracker.observe(["a"], 1, placed(rows, left_out))
    return tracker.mean_tau("a", len(rows))


def whole(rows: Integers) -> Integers:
    return np.empty((len(rows), 0), np.int64)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(2, 40), st.integers(0, 3))
def test_it_is_that_of_scipy(seed: int, batch: int, count: int, specials: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.stack([rng.permutation(3 * count)[: count + specials] for _ in range(batch)])
    left_out = np.stack([rng.permutation(count + specials)[:specials] for _ in range(batch)])
    kept = [np.delete(row, places) for row, places in zip(values, left_out, strict=True)]
    expected = [kendalltau(np.arange(count), row).statistic for row in kept]
    assert kendall(values, left_out).tolist() == pytest.approx(expected)
    # what a GPU compares
    tokens = placed(values, left_out)
    assert all_pairs(tokens).tolist() == inversions(tokens).tolist()


def test_pairs_are_compared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.stack([np.random.default_rng(row).permutation(30) for row in range(7)])
    tokens = placed(rows, whole(rows))
    at_once = all_pairs(tokens)
    monkeypatch.setattr("suite.evaluation.token_order.COMPARED", 2 * 30**2)
    assert torch.equal(all_pairs(tokens), at_once)


def test_sorted_reversed_and_alone() -> None:
    rows = np.tile(np.arange(6), (2, 1))
    assert kendall(rows, whole(rows)).tolist() == [1, 1]
    assert kendall(rows[:, ::-1], whole(rows)).tolist() == [-1, -1]
    assert kendall(rows[:, :1], whole(rows)).tolist() == [1, 1]
    assert kendall(rows[:, :0], whole(rows)).tolist() == [1, 1]


def test_of_a_cell_it_is_the_mean_over_its_sites() -> None:
    tokens = new_sequence(torch.zeros(2, 5, 1), [2], (1, 2, 2))

    def moved(*order: int) -> TokenSequence:
        position = torch.stack([torch.tensor(order), torch.arange(5)])
        return TokenSequence(**{**vars(tokens), "position": position})

    orders = OrderTracker()
    orders.observe(["a", "b"], 1, moved(0, 1, 2, 3, 4))
    orders.observe(["a"], 2, moved(4, 3, 2, 1, 0))
    orders.observe(["a"], 3, moved(1, 0, 2, 3, 4))
    assert orders.mean_tau("a", 2).tolist() == pytest.approx([(1 - 1 + 4 / 6) / 3, 1])
    assert orders.mean_tau("b", 2).tolist() == orders.mean_tau("c", 2).tolist() == [1, 1]

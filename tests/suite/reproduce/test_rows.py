"""Measured values and their distance from published ones, against cases worked out by hand."""

import numpy as np
import pytest

from suite.reproduce.rows import DROP, TOP1, measured_columns, stated
from suite.reproduce.table import Value
from suite.stats.correctness import Outcomes
from suite.stats.hits import Hits
from suite.stats.single import wilson


def outcomes(*right: list[int]) -> Outcomes:
    correct = np.array(right, dtype=bool)
    return Hits("method", correct, np.arange(correct.shape[1]))


DENSE = outcomes([1] * 9 + [0])
REDUCED = outcomes([1] * 7 + [0] * 3)


def test_percent_become_shares() -> None:
    assert stated(Value(method="mtr", top1=81.9)) == [(TOP1, 0.819)]
    assert stated(Value(method="mtr", drop=1.6)) == [(DROP, 0.016)]
    assert stated(Value(method="mtr", top1=80.3, drop=1.6)) == [(TOP1, 0.803), (DROP, 0.016)]
    assert stated(Value(method="mtr")) == [(TOP1, None)]


def test_a_top1_has_wilsons_interval_and_the_difference_the_same_shifted() -> None:
    row = measured_columns(TOP1, 0.9, REDUCED, DENSE)
    low, high = wilson(7, 10)
    assert (row["measured"], row["measured_low"], row["measured_high"]) == (0.7, low, high)
    assert row["deviation"] == pytest.approx(-0.2)
    assert (row["deviation_low"], row["deviation_high"]) == (low - 0.9, high - 0.9)
    assert row["within"] == (high >= 0.9 - 0.0005)
    assert (row["images"], row["seeds"]) == (10, 1)


def test_a_drop_is_what_the_method_loses_and_its_interval_is_paired() -> None:
    row = measured_columns(DROP, 0.05, REDUCED, DENSE)
    assert row["measured"] == pytest.approx(0.2)
    # two of ten images are lost, none is won
    assert 0 <= row["measured_low"] < 0.2 < row["measured_high"] < 0.6
    assert row["deviation"] == pytest.approx(0.15)
    assert row["within"]
    assert not measured_columns(DROP, -0.3, REDUCED, DENSE)["within"]


def test_seeds_are_averaged_and_told() -> None:
    row = measured_columns(TOP1, 0.5, outcomes([1, 1, 0, 0], [1, 0, 0, 0]), None)
    assert row["measured"] == pytest.approx(3 / 8)
    assert row["seeds"] == 2


def test_what_did_not_run_or_was_not_read_stays_empty() -> None:
    assert measured_columns(TOP1, 0.5, None, DENSE) == {}
    assert measured_columns(DROP, 0.5, REDUCED, None) == {}
    assert "deviation" not in measured_columns(TOP1, None, REDUCED, DENSE)


def test_half_of_the_last_digit_is_no_difference() -> None:
    whole = outcomes([1] * 10)
    low, _ = wilson(10, 10)
    assert measured_columns(TOP1, low - 0.0004, whole, None)["within"]
    assert not measured_columns(TOP1, low - 0.0006, whole, None)["within"]

"""Means over images: against plain numpy and the textbook interval."""

import numpy as np
import pytest

from suite.stats.means import mean_over_images


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

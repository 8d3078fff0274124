"""How figures are written in the headline."""

import pytest

from suite.stats.headline import _signed


@pytest.mark.parametrize(
    ("points", "text"),
    [
        (-0.04, "-0.04"),
        (0.04, "+0.04"),
        (0.0, "0.0"),
        (-0.0, "0.0"),
        (-0.05, "-0.1"),
        (3.26, "+3.3"),
    ],
)
def test_a_bound_near_zero_keeps_its_side(points: float, text: str) -> None:
    assert _signed(points) == text

"""Lengths of time in words."""

import pytest

from suite.system.durations import duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "0 s"),
        (45.4, "45 s"),
        (59.4, "59 s"),
        (59.6, "1 minute"),
        (89, "1 minute"),
        (100, "2 minutes"),
        (7000, "117 minutes"),
        (7200, "2 hours"),
        (9000, "2.5 hours"),
        (864_000, "240 hours"),
    ],
)
def test_minutes_are_told_from_one_on(seconds: float, words: str) -> None:
    assert duration(seconds) == words

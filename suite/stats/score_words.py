"""Which score tells best what removing a token does, in a line: for the terminal and the page."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from math import isfinite
from typing import Any, NamedTuple


class Predictor(NamedTuple):
    """How well a score predicts how far a token's exact removal moves the answer.

    ``mean``  rank correlation, mean over blocks and images; ``low`` and ``high`` of its interval
    """

    name: str
    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, row: Any) -> Predictor:
        """Read a row of the table ``sensitivity_scores``."""
        return cls(str(row["score"]), float(row["mean"]), float(row["low"]), float(row["high"]))


def correlation(value: float) -> str:
    """A rank correlation as sentences have it."""
    return f"{value:.2f}".replace("-", "−")


def level_with(best: Predictor, others: list[Predictor]) -> list[Predictor]:
    """The next of `others` whose intervals reach that of the best, so that none is said to lead."""
    # A bound that is NaN, of fewer than two images, tells nothing apart.
    return [*takewhile(lambda other: not best.low > other.high, others)]


def score_answer(
    ranked: list[Predictor], place: Predictor | None, name: Callable[[str], str] = str
) -> str:
    """The score that predicts best, of those `ranked` best first; empty without any.

    `place` is the mean map of the other images, which reads nothing of this one.
    """
    if not ranked:
        return ""
    best, *others = ranked
    level = level_with(best, others)
    shown = correlation(best.mean)
    words = (
        f"{name(best.name)} best predicts which tokens move the answer (rank correlation {shown})"
    )
    if level:
        rest = name(level[0].name) if len(level) == 1 else f"{len(level)} others"
        words = (
            f"{name(best.name)} came out highest at predicting which tokens move the answer (rank "
            f"correlation {shown}), not told apart from {rest}"
        )
        if len(level) == 1:
            words += f" ({correlation(level[0].mean)})"
    if place is not None and isfinite(place.mean):
        blind = correlation(place.mean)
        if place.mean > best.mean:
            return (
                f"Of the scores {words}; the mean map of other images, which does not look at the "
                f"image, predicts better: {blind}."
            )
        words += f"; the mean map of other images reaches {blind}"
    return f"{words}."

"""Figures about one accuracy or one list of p-values."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from scipy.stats import norm


def wilson(right: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for `right` hits in `n` images (Wilson 1927)."""
    if not 0 <= right <= n or n < 1:
        raise ValueError(f"{right} of {n} is not a share")
    z = float(norm.ppf((1 + level) / 2))
    share = right / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values, in the order given (Holm 1979): they bound the family-wise error."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted

"""Where a figure may lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["interval", "range"]


@dataclass(frozen=True)
class Spread:
    """Where a difference may lie.

    `kind` "interval" is a confidence interval. "range" is what too few seeds allow: from the lowest
    to the highest bound among the intervals of the single seeds.
    """

    low: float
    high: float
    kind: Kind = "interval"

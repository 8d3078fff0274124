"""The bundled tables of tries, as the documents read them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from methods import METHODS
from methods.base import SCHEDULES
from suite.stats.correctness import Outcomes
from suite.stats.schedules import OrderOverSchedules, order_over_schedules
from suite.tries.bundled import tables
from suite.tries.files import read_tries
from suite.tries.settings import Setting, default_setting
from suite.tries.table import Tries


@dataclass(frozen=True)
class Tried:
    """The tries of one backbone; windows are each method's default unless said."""

    tries: Tries

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.tries.images)

    def pick(self, method: str) -> Setting | None:
        """The setting picked for `method`."""
        return self.tries.pick(method)

    def outcomes(
        self, method: str, schedule: str, budget: float, window: int | None = None
    ) -> Outcomes | None:
        """What `method` got right under `schedule`; None if it does not meet the budget."""
        own = default_setting(METHODS[method]).cls_window
        setting = Setting(schedule, own if window is None else window)
        return self.tries.outcomes(self.tries.find(method, setting, budget), method)

    def top1(self, method: str, schedule: str, budget: float) -> float | None:
        """Top-1 under `schedule`; None if it does not meet the budget."""
        outcomes = self.outcomes(method, schedule, budget)
        return outcomes.accuracy if outcomes else None

    def order(
        self, first: str, second: str, budget: float, window: int | None = None
    ) -> OrderOverSchedules:
        """Whether the order of two methods holds over the schedules."""
        return _order(self, first, second, budget, window)


# Asked again and again by a page; its intervals are resampled.
@cache
def _order(
    tried: Tried, first: str, second: str, budget: float, window: int | None
) -> OrderOverSchedules:
    under = {}
    for name in SCHEDULES:
        ours = tried.outcomes(first, name, budget, window)
        under[name] = ours, tried.outcomes(second, name, budget, window)
    return order_over_schedules(first, second, under)


def tried(backbone: str) -> Tried:
    """The bundled tries of `backbone`."""
    for path in tables():
        if path.stem == backbone:
            return Tried(read_tries(path))
    raise KeyError(f"no tries of {backbone}")

"""Whether the order of two methods holds over the schedules by which their tokens leave.

Both methods are compared under each schedule by the paired test, Holm-corrected over the schedules.
Under a schedule the first is *ahead*, *behind*, or the two are *open*. The order *holds* if the
first is ahead under at least one schedule and behind under none; it *depends* on the schedule if
both occur; otherwise it is *open*. Accuracies alone decide nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

import pandas as pd

from suite.stats.compare import Comparison, compare_pairs
from suite.stats.correctness import Outcomes

Source = Literal["table", "run"]
State = Literal["ahead", "behind", "open", "left out"]
OrderVerdict = Literal["holds", "depends", "open"]
FAMILY = ("backbone", "budget", "source", "split", "images")
PAIR = ("method", "other", "baseline")
MIRRORED: dict[State, State] = {"ahead": "behind", "behind": "ahead"}


@dataclass(frozen=True)
class UnderSchedule:
    """Two methods under one schedule, differences as the first minus the second in [-1, 1].

    Attributes:
        schedule: name of the schedule.
        state: whether the first is ahead, behind, or neither was shown; "left out" if one of them
            does not meet the budget under it, or both at FLOPs that differ too much for a test.
        top1: accuracy of the first; None without outcomes, as all that follows without a test.
        other_top1: accuracy of the second.
        difference: the first minus the second.
        difference_low: lower end of its 95 % interval or range, corrected as p_holm is.
        difference_high: upper end.
        p: exact two-sided p.
        p_holm: p after Holm's correction over the schedules that were tested.

    """

    schedule: str
    state: State
    top1: float | None = None
    other_top1: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    p: float | None = None
    p_holm: float | None = None

    def mirrored(self) -> UnderSchedule:
        """The second method against the first."""
        turned = replace(
            self,
            state=MIRRORED.get(self.state, self.state),
            top1=self.other_top1,
            other_top1=self.top1,
        )
        if self.difference is None or self.difference_low is None or self.difference_high is None:
            return turned
        # 0.0 minus it: a zero keeps its sign
        return replace(
            turned,
            difference=0.0 - self.difference,
            difference_low=0.0 - self.difference_high,
            difference_high=0.0 - self.difference_low,
        )


@dataclass(frozen=True)
class OrderOverSchedules:
    """Two methods under every schedule.

    ``method``    the one that is ahead if the order holds, else the first of the pair
    ``baseline``  which of the two is a blind baseline; empty if neither is
    """

    method: str
    other: str
    under: tuple[UnderSchedule, ...]
    baseline: str = ""

    def those(self, state: State) -> tuple[str, ...]:
        """The schedules under which the method is in this state."""
        return tuple(row.schedule for row in self.under if row.state == state)

    @property
    def verdict(self) -> OrderVerdict:
        """Whether the order holds over schedules, depends on them, or is open."""
        ahead, behind = self.those("ahead"), self.those("behind")
        if ahead and behind:
            return "depends"
        return "holds" if ahead or behind else "open"

    @property
    def tested(self) -> int:
        """Schedules under which the two were compared."""
        return len(self.under) - len(self.those("left out"))

    def mirrored(self) -> OrderOverSchedules:
        """The second method against the first."""
        under = tuple(row.mirrored() for row in self.under)
        return replace(self, method=self.other, other=self.method, under=under)


def order_over_schedules(
    first: str,
    second: str,
    answers: Mapping[str, tuple[Outcomes | None, Outcomes | None]],
    baseline: str = "",
) -> OrderOverSchedules:
    """Compare two methods under every schedule of `answers`, one family of Holm's correction.

    A method without outcomes does not meet the budget under that schedule. If the second method is
    the one that is ahead, and never behind, it comes first in the result.
    """
    pairs = {}
    for schedule, (one, two) in answers.items():
        if one is not None and two is not None:
            pairs[schedule] = (one, two)
    compared = dict(zip(pairs, compare_pairs(list(pairs.values())), strict=True))
    under = []
    for schedule, (one, two) in answers.items():
        row = compared.get(schedule)
        if row is None:
            accuracies = (each.accuracy if each else None for each in (one, two))
            under.append(UnderSchedule(schedule, "left out", *accuracies))
        else:
            under.append(_under(schedule, row))
    order = OrderOverSchedules(first, second, tuple(under), baseline)
    if order.those("behind") and not order.those("ahead"):
        return order.mirrored()
    return order


def _under(schedule: str, row: Comparison) -> UnderSchedule:
    if row.p_holm is None:  # their FLOPs differ too much
        return UnderSchedule(schedule, "left out", row.accuracy, row.reference_accuracy)
    state: State = "open"
    if row.significant:
        state = "ahead" if row.difference > 0 else "behind"
    return UnderSchedule(
        schedule,
        state,
        row.accuracy,
        row.reference_accuracy,
        row.difference,
        row.difference_low,
        row.difference_high,
        row.p,
        row.p_holm,
    )


@dataclass(frozen=True)
class ScheduleVerdicts:
    """Whether the order of methods holds over schedules, on one backbone at one budget.

    ``source``   "table" if a table of tries answered, "run" if the run evaluated every schedule
    ``split``    split of the images that were compared, and their number in ``images``
    ``orders``   of every pair of methods that were asked for, and of each with a blind baseline
    """

    backbone: str
    budget: float
    source: Source
    split: str
    images: int
    orders: tuple[OrderOverSchedules, ...]

    @property
    def methods(self) -> tuple[OrderOverSchedules, ...]:
        """The pairs without a blind baseline."""
        return tuple(order for order in self.orders if not order.baseline)

    @property
    def blind(self) -> tuple[OrderOverSchedules, ...]:
        """The pairs with one."""
        return tuple(order for order in self.orders if order.baseline)

    def pair(self, one: str, other: str) -> OrderOverSchedules | None:
        """The verdict on two methods, whichever is named first; None if they were not compared."""
        pairs = (order for order in self.orders if {order.method, order.other} == {one, other})
        return next(pairs, None)


def schedules_table(verdicts: Iterable[ScheduleVerdicts]) -> pd.DataFrame:
    """Tabulate the verdicts: a row for each pair and schedule."""
    rows = []
    for family in verdicts:
        for order in family.orders:
            named = {name: getattr(family, name) for name in FAMILY}
            named |= {name: getattr(order, name) for name in (*PAIR, "verdict")}
            rows += [named | asdict(row) for row in order.under]
    columns = [*FAMILY, *PAIR, "verdict", *(field.name for field in fields(UnderSchedule))]
    return pd.DataFrame(rows, columns=columns)


def read_schedules_table(table: pd.DataFrame) -> list[ScheduleVerdicts]:
    """Restore the verdicts from the table ``schedules``, in its order."""
    verdicts = []
    for family, rows in table.groupby(list(FAMILY), sort=False):
        orders = []
        for pair, of_pair in rows.groupby(list(PAIR), sort=False):
            method, other, baseline = map(str, pair)
            under = tuple(map(_restored, of_pair.to_dict("records")))
            orders.append(OrderOverSchedules(method, other, under, baseline))
        backbone, budget, source, split, images = family
        answered: Source = "table" if source == "table" else "run"
        numbers = float(str(budget)), answered, str(split), int(str(images))
        verdicts.append(ScheduleVerdicts(str(backbone), *numbers, tuple(orders)))
    return verdicts


def _restored(row: Mapping[Any, Any]) -> UnderSchedule:
    """One schedule of a pair from its row; missing numbers are None."""
    values: dict[str, Any] = {}
    for field in fields(UnderSchedule):
        value = row[field.name]
        values[field.name] = None if pd.isna(value) else value
    return UnderSchedule(**values)

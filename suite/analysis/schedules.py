"""The tables of methods under every schedule: what each keeps, and whether their order holds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import pandas as pd

from methods.base import SCHEDULES
from suite.analysis.schedule_answers import Answers, MethodAnswers
from suite.analysis.statistics import accuracy_row
from suite.stats.schedules import (
    OrderOverSchedules,
    ScheduleVerdicts,
    order_over_schedules,
    schedules_table,
)
from suite.store.schema import TABLES

ALL_PAIRS = 6  # methods: of more, only the reference is compared with each other one
ACCURACY = ("top1", "top1_low", "top1_high", "seeds")


def schedule_tables(answers: Sequence[Answers]) -> dict[str, pd.DataFrame]:
    """The tables ``schedules``, a row a pair and schedule, and ``schedule_accuracy``."""
    rows = []
    for family in answers:
        for method in family.methods:
            rows += _accuracy_rows(family, method)
    columns = list(TABLES["schedule_accuracy"].columns)
    return {
        "schedules": schedules_table(map(verdicts_on, answers)),
        "schedule_accuracy": pd.DataFrame(rows, columns=columns),
    }


def verdicts_on(answers: Answers) -> ScheduleVerdicts:
    """Whether the order of each pair holds: of two methods, or of one and a blind baseline."""
    pairs = [pair for pair in _pairs(answers.methods) if not _alike(*pair)]
    orders = [order_of_pair(first, second) for first, second in pairs]
    cells = [cell for method in answers.methods for cell in method.under.values()]
    family = answers.backbone, answers.budget, answers.source, answers.split
    return ScheduleVerdicts(*family, cells[0].count, tuple(orders))


def order_of_pair(first: MethodAnswers, second: MethodAnswers) -> OrderOverSchedules:
    """Whether the order of two methods holds over the schedules."""
    under = {name: (first.under.get(name), second.under.get(name)) for name in SCHEDULES}
    baseline = ""
    if first.blind != second.blind:
        baseline = first.label if first.blind else second.label
    return order_over_schedules(first.label, second.label, under, baseline)


def _alike(first: MethodAnswers, second: MethodAnswers) -> bool:
    """Whether the same cells answer under every schedule, as at a single site."""
    cells = {(first.keys.get(name), second.keys.get(name)) for name in SCHEDULES}
    return len(cells) == 1 and (None, None) not in cells


def _pairs(methods: Sequence[MethodAnswers]) -> list[tuple[MethodAnswers, MethodAnswers]]:
    """All pairs of the methods asked for, or of many those with the reference; then blind ones."""
    asked = [method for method in methods if method.asked]
    looking = [method for method in asked if not method.blind]
    pairs = list(combinations(asked, 2))
    if len(asked) > ALL_PAIRS:
        # As elsewhere: the first that is no baseline.
        reference = ([method for method in asked if not method.baseline] or asked)[0]
        pairs = [(reference, other) for other in asked if other is not reference]
    for method in looking:
        pairs += [(method, other) for other in methods if not other.asked]
    return pairs


def _accuracy_rows(family: Answers, method: MethodAnswers) -> list[dict[str, object]]:
    """Rows of the table ``schedule_accuracy``, one a schedule."""
    rows = []
    images = next(iter(method.under.values())).count
    for schedule in SCHEDULES:
        row: dict[str, object] = {
            "backbone": family.backbone,
            "budget": family.budget,
            "label": method.label,
            "schedule": schedule,
            "reason": method.reasons.get(schedule, ""),
            "window": method.window,
            "source": family.source,
            "images": images,
            "split": family.split,
            "keys": ",".join(method.keys.get(schedule, ())),
        }
        if method.picked and method.picked.schedule == schedule:
            row["picked_window"] = method.picked.cls_window
        if cell := method.under.get(schedule):
            accuracy = accuracy_row(cell, family.backbone, family.budget, None)
            row |= {name: accuracy[name] for name in ACCURACY} | {"removed": cell.removed}
        rows.append(row)
    return rows

"""What each method got right under every schedule: from a table of tries, or from cells of the run.

A table of tries answers if it has the methods that were asked for. Otherwise the run has evaluated
them under each schedule, as an ablation of the axis ``schedule`` does anyhow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from methods.base import SCHEDULES
from methods.spec import MethodSpec
from suite.analysis.statistics import outcomes_of
from suite.plan.cells import Cell
from suite.plan.further import compared, unanswered
from suite.plan.prepare import Prepared
from suite.plan.settings import under_schedules
from suite.stats.correctness import Outcomes
from suite.stats.schedules import Source
from suite.store.results import Results
from suite.store.schema import CellRecord
from suite.tries.settings import Setting
from suite.tries.table import Tries

AXIS = "schedule"  # of an ablation
Cells = Mapping[tuple[MethodSpec, str], Sequence[Cell]]  # by method and schedule, a cell a seed


@dataclass(frozen=True)
class MethodAnswers:
    """One method under every schedule, at the class-token window that is its own.

    ``label``    its name, without a schedule
    ``asked``    whether it was asked for; else it is a blind baseline that runs anyhow
    ``baseline`` whether it is of that family, as the blind ones are
    ``blind``    whether it removes tokens without looking at the image
    ``picked``   the setting that it was tuned to
    ``under``    what it got right, by schedule
    ``reasons``  why there is no answer, by schedule
    ``keys``     the cells that answered, by schedule; none of a table of tries
    """

    label: str
    asked: bool
    baseline: bool
    blind: bool
    window: int
    picked: Setting | None
    under: Mapping[str, Outcomes] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Answers:
    """The methods of one backbone at one budget, all on the same images of ``split``."""

    backbone: str
    budget: float
    source: Source
    split: str
    methods: tuple[MethodAnswers, ...]


def schedule_answers(
    prepared: Prepared, records: Sequence[CellRecord], results: Results
) -> list[Answers]:
    """The answers on every backbone on which something answers for every schedule."""
    spec, named = prepared.spec, prepared.methods
    finished = {record.key: record for record in records}
    answered = []
    for backbone in spec.named:
        spec_here = prepared.spec_on(backbone)
        methods = _methods(prepared, backbone)
        tries = prepared.tries.get(backbone)
        across: dict[tuple[MethodSpec, str], list[Cell]] = {}
        for cell in prepared.across:
            if cell.backbone == backbone and cell.setting:
                across.setdefault((cell.method, cell.setting.schedule), []).append(cell)
        family = backbone, spec.headline_budget
        if across:
            under = _evaluated(methods, across, finished, results)
            answered.append(Answers(*family, "run", spec.split, under))
        elif AXIS in spec.axes:
            for budget in spec.budgets:
                cells = _of_axis(prepared, backbone, budget, list(methods))
                under = _evaluated(methods, cells, finished, results)
                answered.append(Answers(backbone, budget, "run", spec.split, under))
        elif (
            tries
            and not spec.axes
            and not unanswered(tries, named, spec_here, prepared.settings[backbone].blind)
        ):
            under = tried_answers(methods, tries, spec.headline_budget)
            answered.append(Answers(*family, "table", tries.split, under))
    return [each for each in answered if each.methods]


def _methods(prepared: Prepared, backbone: str) -> dict[MethodSpec, MethodAnswers]:
    """The methods that are compared under every schedule, without their answers yet."""
    asked = {replace(method, schedule="") for method in prepared.methods}
    tries = prepared.tries.get(backbone)
    methods = {}
    blind = prepared.settings[backbone].blind
    for method in compared(prepared.methods, prepared.spec, blind):
        composition = method.composition(prepared.models[backbone].provides)
        methods[method] = MethodAnswers(
            method.label,
            asked=method in asked,
            baseline=method.method.family == "baseline",
            blind=composition is not None and composition.blind,
            window=under_schedules(method)[0].setting.cls_window,
            picked=tries.pick(method.untuned) if tries else None,
        )
    return methods


def _evaluated(
    methods: Mapping[MethodSpec, MethodAnswers],
    cells: Cells,
    finished: Mapping[str, CellRecord],
    results: Results,
) -> tuple[MethodAnswers, ...]:
    """Those of `methods` that have answers, from cells of the run."""
    answered = []
    for method, blank in methods.items():
        under, reasons, keys = {}, {}, {}
        for schedule in SCHEDULES:
            # Found by key: another label may stand for the same cell.
            seeds = [finished[cell.key] for cell in cells.get((method, schedule), ())]
            failed = [record for record in seeds if record.status != "ok"]
            if failed:
                reasons[schedule] = failed[0].reason or ""
            elif seeds:
                under[schedule] = outcomes_of(blank.label, seeds, results)
                keys[schedule] = tuple(record.key for record in seeds)
        if under:
            answered.append(replace(blank, under=under, reasons=reasons, keys=keys))
    return tuple(answered)


def _of_axis(
    prepared: Prepared, backbone: str, budget: float, methods: Sequence[MethodSpec]
) -> dict[tuple[MethodSpec, str], list[Cell]]:
    """The cells of an ablation of the axis ``schedule`` at one budget."""
    by_label: dict[str, list[Cell]] = {}
    for cell in prepared.cells:
        if (cell.backbone, cell.budget) == (backbone, budget):
            for label in (cell.method.label, *cell.aliases):
                by_label.setdefault(label, []).append(cell)
    cells = {}
    for method in methods:
        for schedule in SCHEDULES:
            # Spelled as the axis spells it.
            label = MethodSpec(method.name, method.options, schedule).label
            cells[method, schedule] = by_label.get(label, [])
    return cells


def tried_answers(
    methods: Mapping[MethodSpec, MethodAnswers], tries: Tries, budget: float
) -> tuple[MethodAnswers, ...]:
    """Those of `methods` that have answers, from the table of tries."""
    answered = []
    for method, blank in methods.items():
        under, reasons = {}, {}
        for setting in (resolved.setting for resolved in under_schedules(method)):
            row = tries.find(method.untuned, setting, budget)
            outcomes = tries.outcomes(row, blank.label)
            if outcomes:
                under[setting.schedule] = outcomes
            else:
                reasons[setting.schedule] = (row.reason if row else None) or ""
        if under:
            answered.append(replace(blank, under=under, reasons=reasons))
    return tuple(answered)

"""Cells beside those of the main table, each for an analysis of its own.

The blind baselines run under every setting that occurs; where no table of tries answers, every
method runs under each schedule at the headline's budget; and there every method runs by equal
counts of tokens beside equal FLOPs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from backbones.base import Backbone
from methods.spec import MethodSpec
from suite.config.run_spec import RunSpec
from suite.plan.cells import Cell
from suite.plan.layout import bare_cell, planned_cell, with_seeds
from suite.plan.schedule import ADAPTIVE
from suite.plan.settings import Chosen, is_asked, under_schedules
from suite.tries.table import Tries


def further_cells(
    model: Backbone,
    methods: Sequence[MethodSpec],
    spec: RunSpec,
    main: Sequence[Cell],
    chosen: Chosen,
    tries: Tries | None,
) -> list[Cell]:
    """List the further cells of one backbone, whose `methods` were asked for.

    `main` are the cells of its main table. Some may be among them too, or twice among these, each
    time for another reason.
    """
    dense = main[0]
    matched = "matched" if spec.protocol == "paper" else spec.protocol
    base = replace(dense, plan=None, protocol=matched)
    cells = []
    # Under protocol `paper` the budgets are what the published schedules remove.
    budgets = dict.fromkeys(cell.budget for cell in main if cell.budget)
    for baseline, settings in chosen.further.items():
        for resolved in settings:
            cell = replace(bare_cell(base, baseline, resolved, model), role="blind")
            cells += [replace(cell, budget=budget) for budget in budgets]
    # An ablation asks about settings of one method, not about methods.
    pairs: list[MethodSpec] = []
    if spec.protocol != "paper" and not spec.axes:
        pairs = compared(methods, spec, chosen.blind)
    if pairs:
        at = replace(base, budget=spec.headline_budget)
        if spec.across_schedules and unanswered(tries, methods, spec, chosen.blind):
            for method in pairs:
                for resolved in under_schedules(method, spec.sites):
                    cell = bare_cell(at, method, resolved, model)
                    cells.append(replace(cell, role="schedule"))
        if spec.protocol == "matched":
            for method in methods:
                own = chosen.methods[method]
                # Adaptive counts are no image's alone.
                fixed = own is None or own.setting.schedule != ADAPTIVE.name
                if method.method.kind == "sequence" and fixed:
                    cell = bare_cell(at, method, own, model)
                    cells.append(replace(cell, role="tokens", protocol="tokens"))
    return with_seeds([planned_cell(cell, model, spec) for cell in cells], spec.seeds)


def compared(
    methods: Sequence[MethodSpec], spec: RunSpec, blind: Sequence[MethodSpec]
) -> list[MethodSpec]:
    """The methods to compare under every schedule, without their own; none if there is no pair.

    `blind` are the blind baselines of the backbone.
    """
    bare = []
    for method in methods:
        if method.method.kind == "sequence":
            bare.append(replace(method, schedule=""))
    if spec.baselines and bare:
        bare += [baseline for baseline in blind if not is_asked(baseline, methods)]
    unique = list(dict.fromkeys(bare))
    return unique if len(unique) > 1 else []


def unanswered(
    tries: Tries | None,
    methods: Sequence[MethodSpec],
    spec: RunSpec,
    blind: Sequence[MethodSpec],
) -> str:
    """Why a table of tries does not answer for all methods under every schedule; empty if it does.

    A schedule under which a method does not meet the budget is answered, too.
    """
    if tries is None:
        return "there is no table of tries for these weights and images"
    if spec.protocol != "matched":
        return "a table of tries answers for equal FLOPs alone"
    origin = tries.origin
    if origin.sites != spec.sites:
        return "the table of tries is of other sites"
    if origin.flops_convention != spec.flops_convention:
        return f"the table of tries counts FLOPs as {origin.flops_convention}"
    asked = compared(methods, spec, blind)
    if lacking := [method.label for method in asked if method.untuned not in tries.methods]:
        return f"the table of tries lacks {', '.join(lacking)}"
    if spec.headline_budget not in origin.budgets:
        return f"the table of tries has no budget of {100 * spec.headline_budget:.4g} %"
    for method in asked:
        for resolved in under_schedules(method):
            if tries.find(method.untuned, resolved.setting, spec.headline_budget) is None:
                return f"the table of tries lacks {method.label} under {resolved.setting}"
    return ""

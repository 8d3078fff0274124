"""Lay out the cells of one backbone, and solve the budget of each: the one place that does so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from backbones.base import Backbone
from backbones.common.errors import UserError, describe_error
from backbones.shape import Shape
from methods.composition import Composition
from methods.spec import MethodSpec
from suite.config.run_spec import RunSpec
from suite.plan.adaptive import Alphas
from suite.plan.budget import (
    BudgetUnreachable,
    Free,
    Plan,
    Problem,
    dense_plan,
    nearest_grid,
    plan_of,
    smaller_image,
    solve,
    solve_tokens,
)
from suite.plan.cells import DENSE, MATCHED, Cell, needs_rectangle
from suite.plan.grid_budget import plan_near, solve_on_grid, solve_tokens_on_grid
from suite.plan.schedule import ADAPTIVE, check_sites, default_sites, find_schedule
from suite.plan.settings import Chosen, Resolved, Sites
from suite.plan.view_budget import solve_view
from suite.store.schema import Removal
from suite.store.unstated import UNSTATED
from suite.tries.settings import with_setting

# Of what an ablation makes of a method; one that was named so is refused (`one_spelling`).
NOT_LOWEST = f"the tokens of lowest score are not those that leave, as {ADAPTIVE.name} needs"
OTHER_TRACE = "choose another method, or another score of it"
SOLVERS = {"matched": solve, "tokens": solve_tokens}
GRID_SOLVERS = {"matched": solve_on_grid, "tokens": solve_tokens_on_grid}


def layout(
    name: str,
    model: Backbone,
    chosen: Chosen,
    spec: RunSpec,
    context: str,
    alphas: Alphas | None = None,
) -> list[Cell]:
    """List the cells of one backbone for its main table: dense, then by method, budget and seed.

    `chosen` are the methods with their settings. Under protocol `paper` the budgets are what the
    published schedules remove, and MTR and the baselines are matched to those. `alphas` solves
    adaptive counts. UserError for sites that do not exist.
    """
    base = Cell(name, DENSE, None, 0, None, None, model.image_size, context, protocol=spec.protocol)
    unplanned = []
    for method, resolved in chosen.methods.items():
        if method != DENSE:
            unplanned.append(bare_cell(base, method, resolved, model))
    for method, resolved in chosen.added.items():
        cell = bare_cell(base, method, resolved, model)
        unplanned.append(replace(cell, role="baseline"))
    cells, budgets = [], spec.planned_budgets
    if spec.protocol == "paper":
        for cell in unplanned:
            if cell.method.name not in MATCHED:
                cells.append(published_cell(cell, model, spec.flops_convention))
        unplanned = [
            replace(cell, protocol="matched") for cell in unplanned if cell.method.name in MATCHED
        ]
        # These are matched to what each paper's schedule removes here.
        budgets = tuple(dict.fromkeys(cell.budget for cell in cells if cell.plan and cell.budget))
    for cell in unplanned:
        # What only reorders tokens has no budget to meet.
        for budget in (0.0,) if cell.kind == "order" else budgets:
            cells.append(planned_cell(replace(cell, budget=budget), model, spec, alphas))
    dense = replace(base, plan=dense_plan(model.describe()))
    return merge_equal(with_seeds([dense, *cells], spec.seeds))


def bare_cell(base: Cell, method: MethodSpec, resolved: Resolved | None, model: Backbone) -> Cell:
    """A cell of `method` under its setting, without a budget yet."""
    if resolved is None:
        spelled, cell = method, replace(base, method=method)
    else:
        spelled = with_setting(method, resolved.setting)
        cell = replace(base, method=method, setting=resolved.setting, tuned=resolved.tuned)
        if resolved.sites is not None:
            cell = at_own_sites(cell, resolved.sites, model.describe())
    composition = spelled.composition(model.provides)
    if composition:
        cell = replace(cell, reason=incompatibility(composition, model) or cell.reason)
        return replace(cell, composition=composition)
    view = method.method.view_of(**method.options)
    if view is not None or method.method.kind == "oracle":
        if needs_rectangle(model):
            cell = replace(cell, reason=no_rectangle(model))
        elif model.task == "segmentation":
            cell = replace(cell, reason=NOT_DENSE)
    return replace(cell, view=view)


def at_own_sites(cell: Cell, sites: Sites, shape: Shape) -> Cell:
    """A cell at the sites that a method brings; with the reason if they do not fit the backbone."""
    try:
        return replace(cell, sites=check_sites(tuple(sites(shape)), shape))
    except UserError as error:
        return replace(cell, reason=str(error))
    except Exception as error:  # a method may be anyone's
        raise UserError(
            f"the sites of {cell.method} cannot be had ({describe_error(error)}): correct them"
        ) from error


def published_cell(cell: Cell, model: Backbone, convention: str) -> Cell:
    """Plan a cell by the sites and counts of its method's paper, carried over to this backbone."""
    if cell.method.schedule:
        raise UserError(
            f"{cell.method}: protocol paper has each method's own schedule, leave out '@'"
        )
    shape = model.describe()
    counts = cell.method.method.paper_counts(shape, **cell.method.options)
    # None of a composition: the oracle has no paper.
    if cell.composition is None or counts is None:
        return replace(cell, reason=UNSTATED)
    if cell.reason:
        return cell
    if not counts:
        return replace(cell, reason=f"{model.name} is too small for the schedule of its paper")
    try:
        plan = counted_plan(shape, counts, cell.composition)
    except ValueError as error:
        return replace(cell, reason=str(error))
    return replace(cell, plan=plan, budget=round(plan.removed[convention], 4))


def counted_plan(shape: Shape, counts: Mapping[int, int], composition: Composition) -> Plan:
    """Make the plan that removes `counts[site]` tokens at each site; ValueError if it cannot.

    A composition that keeps a rectangle leaves the maps nearest to that.
    """
    if composition.keeps_rectangle:
        return plan_near(shape, counts, composition)
    return plan_of(shape, counts, composition)


def solved(problem: Problem, budget: float, protocol: str = "matched") -> Plan:
    """Solve a budget by the protocol, in tokens or in rows and columns; `BudgetUnreachable`."""
    reduction = problem.reduction
    if isinstance(reduction, Composition) and reduction.keeps_rectangle:
        return GRID_SOLVERS[protocol](problem, reduction, budget)
    return SOLVERS[protocol](problem, budget)


def planned_cell(cell: Cell, model: Backbone, spec: RunSpec, alphas: Alphas | None = None) -> Cell:
    """Solve the budget of a cell; without a plan and with the reason if that cannot be done.

    UserError for adaptive counts where no `alphas` can be solved.
    """
    shape, budget = model.describe(), cell.budget
    assert budget is not None
    # A rule that chooses sites has been replaced by its numbers (`suite.plan.delta_spread`).
    assert not isinstance(spec.sites, str)
    sites = cell.sites or check_sites(spec.sites or default_sites(shape.sites), shape)
    if cell.reason:
        return cell
    try:
        if cell.kind == "order":
            # A site without removal still calls the reducer, which permutes.
            reordered = dict.fromkeys(sites, Removal(tokens=0))
            return replace(cell, plan=replace(dense_plan(shape), removals=reordered))
        if cell.composition is not None or cell.kind == "oracle":
            # The oracle's own search is no cost of a method: it asks the labels.
            reduction = cell.composition or Free()
            assert cell.setting is not None
            schedule = find_schedule(cell.setting.schedule)
            if schedule is ADAPTIVE:
                return adaptive_cell(cell, model, sites, alphas)
            problem = Problem(shape, reduction, sites, schedule, spec.flops_convention)
            return replace(cell, plan=solved(problem, budget, cell.protocol))
        if cell.view is not None:
            convention = spec.flops_convention
            view, plan = solve_view(shape, cell.view, model.image_size, budget, convention)
            size = model.image_size_for(view.grid)
            return replace(cell, plan=plan, view=view, image_size=size)
        grid = nearest_grid(shape, budget, spec.flops_convention)
    except BudgetUnreachable as error:
        return replace(cell, reason=str(error), closest=error.nearest)
    # It would be the dense model under another name.
    if grid == shape.side:
        reason = f"no smaller image comes closer to {100 * budget:.4g} % than the image itself"
        return replace(cell, reason=reason)
    return replace(cell, plan=smaller_image(shape, grid), image_size=model.image_size_for(grid))


def adaptive_cell(
    cell: Cell, model: Backbone, sites: tuple[int, ...], alphas: Alphas | None
) -> Cell:
    """Solve the alpha of a cell; with the reason if its method cannot have adaptive counts.

    UserError without `alphas`. `BudgetUnreachable` if no alpha meets the budget.
    """
    if alphas is None:
        raise UserError(
            f"{cell.method.label}: the schedule {ADAPTIVE.name} is solved on the images of a "
            "comparison: choose another schedule, or use `compare`"
        )
    if cell.composition is None or not cell.composition.removes_lowest:
        return replace(cell, reason=NOT_LOWEST)
    return replace(cell, plan=alphas.plan(cell, model, sites))


def incompatibility(composition: Composition, model: Backbone) -> str | None:
    """Say why `model` cannot be reduced by `composition`; None if it can."""
    specials = len(model.special_places)
    if needs_rectangle(model) and not composition.keeps_rectangle:
        return no_rectangle(model)
    if composition.keeps_rectangle and model.describe().rectangle is None:
        return f"narrows the rectangle of an image; the tokens of {model.name} fill none"
    if missing := model.missing(composition.needs):
        return f"needs {', '.join(sorted(missing))}; {model.name} has none: {OTHER_TRACE}"
    scans = model.describe().directions
    if composition.aligned and scans > 2:
        return f"hands decay on along one scan each way; {model.name} has {scans} scans"
    # of scans along rows and columns none is the forward one
    if composition.direction != "both" and scans != 2:
        return f"reads one of two scans; {model.name} has {scans}: use direction=both"
    if composition.needs_class_token and not specials:
        hidden = composition.score == "hidden-attention"
        mend = "use score=cls-similarity" if hidden else "set sensitivity=0"
        return f"needs a class token; {model.name} has none: {mend}"
    if composition.cls_placement == "proportional" and specials > 1:
        return (
            f"cls_placement=proportional places one class token; {model.name} has {specials} "
            "special tokens"
        )
    return None


NOT_DENSE = "knows or answers an image as a whole, not its pixels: use another method"


def no_rectangle(model: Backbone) -> str:
    """Why most methods cannot reduce a backbone that scans or halves a map in two dimensions."""
    return f"leaves no rectangle of tokens, which {model.name} needs: use a method of the grid"


def with_seeds(cells: Iterable[Cell], seeds: int) -> list[Cell]:
    """Repeat every cell that can run and depends on its seed, once a seed."""
    repeated = []
    for cell in cells:
        count = seeds if cell.plan and cell.stochastic else 1
        repeated += [seeded(cell, seed) for seed in range(count)]
    return repeated


def seeded(cell: Cell, seed: int) -> Cell:
    """The cell of one seed."""
    view = cell.view and replace(cell.view, seed=seed)
    return replace(cell, seed=seed, view=view)


def merge_equal(cells: Iterable[Cell]) -> list[Cell]:
    """Merge cells of equal identity into the first, which keeps the other labels as aliases.

    What is in no main table lends no name to a cell that is.
    """
    merged: dict[str, Cell] = {}
    for cell in cells:
        first = merged.setdefault(cell.key, cell)
        if first.method.text != cell.method.text and cell.shown:
            merged[cell.key] = replace(first, aliases=(*first.aliases, cell.method.label))
    return list(merged.values())

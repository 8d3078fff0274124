"""Budgets in whole rows and columns, against every chain of maps there is."""

from dataclasses import replace
from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backbones.shape import Shape
from methods.spec import parse
from suite.flops.closed_form import count, dense, total
from suite.plan.budget import BudgetUnreachable, Free, Plan, Problem
from suite.plan.grid_budget import (
    CLOSE,
    GridProblem,
    GridReduction,
    Rectangle,
    fits,
    grid_plan,
    ladder,
    plan_near,
    slimness,
    solve_on_grid,
    solve_tokens_on_grid,
)
from suite.plan.layout import solved
from suite.plan.schedule import ALL, CONSTANT_RATIO, Schedule, find_schedule

SMALL = Shape("small", 4, 32, 64, 4, 2, 4, 2, (1, 4, 4), 3, 16, 1, 10)
TINY = Shape("vim_tiny", 24, 192, 384, 16, 12, 4, 2, (1, 16, 16), 3, 196, 1, 1000)
WALKS = replace(SMALL, name="plain", conv_kernel=49, directions=4, specials=0, walks=True, stem=1)


def method(text: str) -> GridReduction:
    composition = parse(text).composition()
    assert composition is not None
    return composition


def problem(shape: Shape, schedule: Schedule = CONSTANT_RATIO) -> Problem:
    return Problem(shape, Free(), shape.sites, schedule, "flops")


def maps_of(plan: Plan, whole: Rectangle) -> list[Rectangle]:
    """The map left after each site that removes any."""
    maps, now = [], whole
    for removal in plan.removals.values():
        before, now = now, (now[0] - removal.rows, now[1] - removal.columns)
        assert removal.tokens == before[0] * before[1] - now[0] * now[1]
        maps.append(now)
    return maps


def removed_by(shape: Shape, chain: tuple[Rectangle, ...], reduction: GridReduction) -> float:
    """Share removed where sites 1, 2, ... leave these maps, counted block by block."""
    assert shape.rectangle is not None
    lengths, costs, now = [shape.length], [], shape.rectangle
    for after in chain:
        if after != now:
            costs.append(reduction.cost_on_grid(now, after, shape))
        now = after
        lengths.append(now[0] * now[1] + shape.specials)
    work = count(shape, lengths, costs, on_grid=True)
    return 1 - total(work) / total(dense(shape))


def chains(shape: Shape, reduction: GridReduction) -> list[tuple[Rectangle, ...]]:
    """Every chain of maps that are not much slimmer than the whole."""
    assert shape.rectangle is not None
    whole = shape.rectangle
    maps = [
        one
        for one in product(range(1, whole[0] + 1), range(1, whole[1] + 1))
        if slimness(one, whole) <= 0.288 or one in ladder(whole)
    ]
    found = []
    for chain in product(maps, repeat=len(shape.sites)):
        steps = zip((whole, *chain[:-1]), chain, strict=True)
        if all(fits(before, after, reduction) for before, after in steps):
            found.append(chain)
    return found


@pytest.mark.parametrize("shape", [SMALL, WALKS], ids=["sequence", "walks"])
@pytest.mark.parametrize("text", ["storm", "grid-resize"])
def test_no_chain_meets_a_budget_better_by_more_than_a_tenth_of_a_point(
    shape: Shape, text: str
) -> None:
    reduction = method(text)
    shares = {chain: removed_by(shape, chain, reduction) for chain in chains(shape, reduction)}
    for budget in (0.1, 0.3):
        plan = solve_on_grid(problem(shape), reduction, budget)
        grid = GridProblem(problem(shape), reduction)
        curve = grid.curve(grid.scale(budget))
        offs = []
        for chain, share in shares.items():
            pairs = zip(chain, curve, strict=True)
            if all(abs(one[0] * one[1] - tokens) <= tokens**0.5 + 1 for one, tokens in pairs):
                offs.append(abs(share - budget))
        least = min(offs)
        assert abs(plan.removed["flops"] - budget) <= max(least, CLOSE) + 0.001
        achieved = removed_by(shape, chain_of(plan, shape), reduction)
        assert plan.removed["flops"] == pytest.approx(achieved, abs=1e-12)


def chain_of(plan: Plan, shape: Shape) -> tuple[Rectangle, ...]:
    """The map left after every site."""
    assert shape.rectangle is not None
    chain, now = [], shape.rectangle
    for site in shape.sites:
        removal = plan.removals.get(site)
        if removal is not None:
            now = now[0] - removal.rows, now[1] - removal.columns
        chain.append(now)
    return tuple(chain)


@pytest.mark.parametrize("schedule", ALL, ids=lambda schedule: schedule.name)
def test_maps_follow_the_schedule(schedule: Schedule) -> None:
    sites = (4, 8, 12, 16, 20)
    plan = solve_on_grid(Problem(TINY, Free(), sites, schedule, "flops"), method("grid-pool"), 0.4)
    alone = schedule.name == "one-shot"
    assert plan.removed["flops"] == pytest.approx(0.4, abs=0.02 if alone else 0.0015)
    tokens = [removal.tokens for removal in plan.removals.values()]
    assert sum(tokens) == 197 - plan.lengths[-1]
    for maps in maps_of(plan, (14, 14)):
        assert slimness(maps, (14, 14)) <= 0.288
    if schedule.name == "staged":
        assert len(tokens) == 3
    if schedule.name == "rising":
        assert tokens[0] < tokens[-2]
    if schedule.name == "falling":
        assert tokens[0] == max(tokens)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9))
def test_the_ladder_loses_a_line_a_step_and_keeps_the_ratio_of_the_sides(
    rows: int, columns: int
) -> None:
    steps = ladder((rows, columns))
    assert (steps[0], steps[-1], len(steps)) == ((rows, columns), (1, 1), rows + columns - 1)
    for before, after in pairwise(steps):
        assert before[0] - after[0] + before[1] - after[1] == 1
        # the other side could have lost the line
        turned = before[0] - (before[1] - after[1]), before[1] - (before[0] - after[0])
        if min(turned) >= 1:
            assert slimness(after, (rows, columns)) <= slimness(turned, (rows, columns))
    assert ladder((3, 3))[1] == (3, 2)  # of equals a column goes


def test_a_budget_beyond_the_caps_is_unreachable() -> None:
    with pytest.raises(BudgetUnreachable, match=r"at most .* % on these sites"):
        solve_on_grid(problem(WALKS, find_schedule("one-shot")), method("storm"), 0.9)


def test_equal_counts_are_those_of_a_reduction_without_cost() -> None:
    one = solve_tokens_on_grid(problem(SMALL), method("storm"), 0.3)
    other = solve_tokens_on_grid(problem(SMALL), method("grid-pool"), 0.3)
    assert one.removals == other.removals
    # a mean takes more operations than a comparison and a sum
    assert other.removed["flops"] < one.removed["flops"] < 0.32
    composition = parse("storm").composition()
    assert composition is not None
    with_composition = replace(problem(SMALL), reduction=composition)
    assert solved(with_composition, 0.3, "tokens").removals == one.removals


def test_counts_become_the_nearest_maps() -> None:
    plan = plan_near(TINY, {5: 52, 11: 44, 17: 36, 23: 28}, method("storm"))
    assert maps_of(plan, (14, 14)) == [(12, 12), (10, 10), (8, 8), (6, 6)]
    assert plan.lengths == (197,) * 5 + (145,) * 6 + (101,) * 6 + (65,) * 6 + (37,)
    with pytest.raises(ValueError, match="cannot narrow 14 x 14 patch tokens to 6 x 14"):
        grid_plan(TINY, {5: (6, 14)}, method("storm"))


def test_a_smaller_map_costs_its_convolutions_less() -> None:
    plan = grid_plan(WALKS, {1: (3, 2)}, method("grid-pool"))
    narrow, whole = count(replace(WALKS, patches=6), [6] * 4), count(WALKS, [16] * 4)
    assert plan.flops.conv - (whole.conv - 4 * 16 * 64 * 49) == (16 + 3 * 6) * 64 * 49
    assert plan.flops.scan == whole.scan // 4 + 3 * narrow.scan // 4


def test_the_curve_is_the_schedules() -> None:
    grid = GridProblem(problem(SMALL), method("storm"))
    assert grid.curve(0.25) == pytest.approx([12, 9, 6.75])
    counts = GridProblem(problem(SMALL, find_schedule("constant-count")), method("storm"))
    assert counts.curve(0.25) == pytest.approx([12, 8, 4])
    maps = solve_on_grid(problem(replace(SMALL, patches=49)), method("grid-resize"), 0.2)
    assert len(maps.removals) == 3  # not all at once before the last block

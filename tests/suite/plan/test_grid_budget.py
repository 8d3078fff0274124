"""Budgets in whole rows and columns, against every chain of maps there is."""

from dataclasses import replace
from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backbones.shape import Shape, Work, halved
from methods.spec import parse
from suite.flops.closed_form import count, dense, total
from suite.plan.budget import (
    BudgetUnreachable,
    Free,
    Plan,
    Problem,
    dense_plan,
    nearest_grid,
    plan_of,
    smaller_image,
)
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


def staged_work(shape: Shape, block: int, tokens: int) -> Work:
    """Work of a made-up block whose cost grows with width and tokens."""
    width = shape.width(block)
    return Work(gemm=tokens * width * (2 * width + tokens), scan=9 * tokens * width)


# sides 5, 3 and 2; two sites before the first halving, one of each later stage
STAGED = Shape(
    *("staged", 6, 8, 8, 0, 0, 0, 0, (1, 4, 4), 3, 25, 0, 10),
    widths=(8, 16, 32),
    halvings=(3, 5),
    work=staged_work,
)
# sides 56, 28, 14 and 7, as of VMamba at 224 pixels
DEEP = replace(
    STAGED, depth=28, patches=3136, widths=(96, 192, 384, 768), dim=96, halvings=(4, 8, 24)
)


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
    lengths, costs, now = [], [], shape.rectangle
    left = dict(zip(shape.sites, chain, strict=True))
    for block in range(shape.depth):
        now = halved(now) if block in shape.halvings else now
        after = left.get(block, now)
        if after != now:
            costs.append(reduction.cost_on_grid(now, after, shape.at(block)))
        now = after
        lengths.append(now[0] * now[1] + shape.specials)
    work = count(shape, lengths, costs, on_grid=True)
    return 1 - total(work) / total(dense(shape))


def chains(shape: Shape, reduction: GridReduction) -> list[tuple[Rectangle, ...]]:
    """Every chain of maps that are not much slimmer than the whole."""
    assert shape.rectangle is not None
    found: list[tuple[Rectangle, ...]] = [()]
    now, stage = shape.rectangle, 0
    for site in shape.sites:
        whole, longer = shape.rectangles[site], []
        for chain in found:
            before = chain[-1] if chain else now
            for _ in range(shape.stage(site) - stage):
                before = halved(before)
            for after in product(range(1, whole[0] + 1), range(1, whole[1] + 1)):
                near = slimness(after, whole) <= 0.288 or after in ladder(whole) or after == before
                if near and fits(before, after, reduction):
                    longer.append((*chain, after))
        found, stage = longer, shape.stage(site)
    return found


@pytest.mark.parametrize("shape", [SMALL, WALKS, STAGED], ids=["sequence", "walks", "stages"])
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
    for block in range(shape.depth):
        now = halved(now) if block in shape.halvings else now
        removal = plan.removals.get(block)
        if removal is not None:
            now = now[0] - removal.rows, now[1] - removal.columns
        if block in shape.sites:
            chain.append(now)
    return tuple(chain)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 6),
    st.sampled_from([(2, 4), (1, 2), (2, 3), (4,)]),
    st.sampled_from(ALL),
    st.sampled_from(["storm", "grid-resize"]),
    st.floats(0.02, 0.6),
)
def test_over_halvings_no_chain_near_the_schedule_is_better(
    side: int, halvings: tuple[int, ...], schedule: Schedule, text: str, budget: float
) -> None:
    widths = (8, 16, 32)[: len(halvings) + 1]
    shape = replace(STAGED, patches=side * side, widths=widths, halvings=halvings)
    reduction, asked = method(text), problem(shape, schedule)
    grid = GridProblem(asked, reduction)
    if grid.removed(grid.along(grid.problem.largest_scale)) < budget:
        return
    plan = solve_on_grid(asked, reduction, budget)
    achieved = removed_by(shape, chain_of(plan, shape), reduction)
    assert plan.removed["flops"] == pytest.approx(achieved, abs=1e-12)
    curve = dict(zip(grid.sites, grid.curve(grid.scale(budget)), strict=True))
    offs = [abs(achieved - budget)]
    for chain in chains(shape, reduction):
        left = dict(zip(shape.sites, chain, strict=True))
        if all(
            abs(left[site][0] * left[site][1] - tokens) <= tokens**0.5 + 1
            for site, tokens in curve.items()
        ) and _only_at(shape, chain, grid.sites):
            offs.append(abs(removed_by(shape, chain, reduction) - budget))
    assert abs(achieved - budget) <= max(min(offs), CLOSE) + 0.001


def _only_at(shape: Shape, chain: tuple[Rectangle, ...], sites: tuple[int, ...]) -> bool:
    """Whether the chain narrows the map at none but these sites."""
    assert shape.rectangle is not None
    now, stage = shape.rectangle, 0
    for site, after in zip(shape.sites, chain, strict=True):
        for _ in range(shape.stage(site) - stage):
            now = halved(now)
        stage = shape.stage(site)
        if after != now and site not in sites:
            return False
        now = after
    return True


@pytest.mark.parametrize("schedule", ALL, ids=lambda schedule: schedule.name)
def test_maps_follow_the_schedule_over_halvings(schedule: Schedule) -> None:
    sites = (1, 3, 6, 9, 13, 17, 21, 25)
    asked = Problem(DEEP, Free(), sites, schedule, "flops")
    alone = schedule.name == "one-shot"
    plan = solve_on_grid(asked, method("storm"), 0.2)
    assert plan.removed["flops"] == pytest.approx(0.2, abs=0.02 if alone else 0.002)
    grid = GridProblem(asked, method("storm"))
    curve = dict(zip(grid.sites, grid.curve(grid.scale(0.2)), strict=True))
    for site, tokens in curve.items():
        assert abs(plan.lengths[site] - tokens) <= tokens**0.5 + 1.5
    assert plan.token_ratio == pytest.approx(1 - sum(plan.lengths) / sum(DEEP.lengths))


def test_a_constant_ratio_is_a_share_of_what_arrives_in_every_stage() -> None:
    sites = (1, 6, 13, 25)
    grid = GridProblem(Problem(DEEP, Free(), sites, CONSTANT_RATIO, "flops"), method("storm"))
    assert grid.curve(0.1) == pytest.approx(
        [3136 * 0.9, 784 * 0.9**2, 196 * 0.9**3, 49 * 0.9**4], rel=1e-12
    )
    counts = replace(grid.problem, schedule=find_schedule("counts-432-100-52-33"))
    tokens = replace(grid, problem=counts).curve(1 / 3136)
    # 56 -> 52, 26 -> 24, 12 -> 52 fewer than 144, and so on
    assert tokens[:3] == pytest.approx([52**2, 24**2, 144 - 52])


def test_maps_by_counts_arrive_halved() -> None:
    plan = plan_near(DEEP, {1: 432, 5: 100, 9: 23, 25: 0}, method("storm"))
    assert plan.lengths[:5] == (3136, 2704, 2704, 2704, 676)
    assert (plan.lengths[5], plan.lengths[8], plan.lengths[9]) == (576, 144, 121)
    assert plan.lengths[24:] == (36,) * 4
    with pytest.raises(ValueError, match="before block 4"):
        grid_plan(DEEP, {4: (20, 20)}, method("storm"))


def test_a_dense_plan_and_a_smaller_image_have_the_lengths_of_all_stages() -> None:
    plan = dense_plan(DEEP)
    assert plan.lengths == DEEP.lengths
    assert (plan.token_ratio, plan.removed["flops"]) == (0, 0)
    small = smaller_image(DEEP, 45)
    assert [small.lengths[block] for block in (0, 4, 8, 24)] == [2025, 529, 144, 36]
    assert small.flops == dense(replace(DEEP, patches=2025))
    assert smaller_image(DEEP, nearest_grid(DEEP, 0.4, "flops")).removed["flops"] == pytest.approx(
        0.4, abs=0.03
    )
    with pytest.raises(ValueError, match="halves its map"):
        plan_of(DEEP, {1: 5})


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

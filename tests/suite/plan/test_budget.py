"""Plans against a brute-force recount, exhaustive search on small problems, and properties."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backbones.shape import Shape
from suite.flops.closed_form import CONVENTIONS
from suite.plan.budget import (
    BudgetUnreachable,
    Free,
    Plan,
    Problem,
    Reduction,
    dense_plan,
    nearest_grid,
    plan_of,
    smaller_image,
    solve,
    solve_tokens,
)
from suite.plan.schedule import CONSTANT_RATIO, SCHEDULES, Schedule, default_sites, find_schedule

TINY = Shape("vim_tiny", 24, 192, 384, 16, 12, 4, 2, (1, 16, 16), 3, 196, 1, 1000)
BASE = Shape("vim_base", 24, 768, 1536, 16, 48, 4, 2, (1, 16, 16), 3, 196, 1, 1000)
NANO = Shape("vim_nano", 8, 64, 128, 8, 4, 4, 2, (1, 4, 4), 3, 196, 1, 10)
BUDGETS = [0.2, 0.3, 0.4, 0.5, 0.6]


@dataclass(frozen=True)
class Fee:
    matmul_macs: int
    arithmetic: int


class Bipartite:
    """Half the tokens at most, an all-pairs similarity between the halves: ToMe's cost."""

    def cap(self, patches: int, specials: int) -> int:
        return patches // 2

    def cost(self, patches: int, removed: int, shape: Shape) -> Fee:
        return Fee(
            (patches // 2) * ((patches + 1) // 2) * shape.dim, (6 * patches + removed) * shape.dim
        )


def counts(plan: Plan) -> dict[int, int]:
    return {site: removal.tokens for site, removal in plan.removals.items()}


def problem(
    shape: Shape,
    method: Reduction,
    schedule: Schedule = CONSTANT_RATIO,
    convention: str = "flops",
) -> Problem:
    return Problem(shape, method, default_sites(shape.sites), schedule, convention)


METHODS: list[Reduction] = [Free(), Bipartite()]


def recount(shape: Shape, counts: Mapping[int, int], composition: Reduction) -> int:
    """True FLOPs written out flat, independent of suite.flops.closed_form: sums over blocks of the published formulas."""
    C, E, N, R, K = shape.dim, shape.inner, shape.states, shape.dt_rank, shape.conv_kernel
    work, patches = 0, shape.patches
    for block in range(shape.depth):
        if removed := counts.get(block, 0):
            fee = composition.cost(patches, removed, shape)
            work += 2 * fee.matmul_macs + fee.arithmetic
            patches -= removed
        L = patches + shape.specials
        work += 2 * (L * C * 2 * E + L * E * C)
        work += 2 * (2 * (L * E * (R + 2 * N) + L * R * E + L * E * K) + 9 * L * E * N + 2 * L * E)
    pixels = shape.patch[1] * shape.patch[2] * 3
    return work + 2 * (shape.patches * C * pixels + C * shape.classes)


@pytest.mark.parametrize("shape", [TINY, BASE, NANO], ids=lambda shape: shape.name)
@pytest.mark.parametrize("composition", METHODS, ids=["free", "bipartite"])
@pytest.mark.parametrize("budget", BUDGETS)
def test_matched_budget_by_independent_recount(
    shape: Shape, composition: Reduction, budget: float
) -> None:
    plan = solve(problem(shape, composition), budget)
    achieved = 1 - recount(shape, counts(plan), composition) / recount(shape, {}, composition)
    assert abs(achieved - budget) < 0.002
    assert achieved == pytest.approx(plan.removed["flops"], abs=1e-12)
    assert set(counts(plan)) <= set(default_sites(shape.sites))


@pytest.mark.parametrize("name", [*SCHEDULES, "every-2", "every-4"])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_every_schedule_and_convention_meets_a_budget(name: str, convention: str) -> None:
    plan = solve(problem(TINY, Free(), find_schedule(name), convention), 0.4)
    assert abs(plan.removed[convention] - 0.4) < 0.002


def test_shapes_of_schedules() -> None:
    removed = {
        name: list(counts(solve(problem(TINY, Free(), find_schedule(name)), 0.3)).values())
        for name in SCHEDULES
    }
    assert max(removed["constant-count"]) - min(removed["constant-count"]) <= 1
    assert len(removed["one-shot"]) == 1
    assert list(solve(problem(TINY, Free(), find_schedule("staged")), 0.3).removals) == [6, 12, 18]
    assert removed["rising"][0] < removed["rising"][5]
    assert removed["falling"][0] > removed["falling"][5]


def test_constant_ratio_removes_the_same_share_everywhere() -> None:
    """One ratio explains every count to within a token, the handed-out remainder included."""
    plan, standing, lowest, highest = solve(problem(TINY, Free()), 0.4), 196, [], []
    for removed in counts(plan).values():
        lowest.append((removed - 1) / standing)
        highest.append((removed + 1) / standing)
        standing -= removed
    assert max(lowest) < min(highest)


def test_plan_by_hand() -> None:
    plan = plan_of(TINY, {2: 5, 4: 5, 7: 0})
    assert counts(plan) == {2: 5, 4: 5}
    assert plan.lengths == (197, 197, 192, 192, *[187] * 20)
    assert plan.token_ratio == pytest.approx((2 * 5 + 20 * 10) / (24 * 197))


@pytest.mark.parametrize(("removed", "percent"), [(5, 13.96), (11, 30.71), (15, 41.88)])
def test_token_ratio_is_what_rmeeto_prints(removed: int, percent: float) -> None:
    plan = plan_of(TINY, dict.fromkeys(range(2, 24, 2), removed))
    assert round(100 * plan.token_ratio, 2) == percent


def test_a_budget_of_zero_is_dense() -> None:
    for solver in (solve, solve_tokens):
        plan = solver(problem(TINY, Bipartite()), 0.0)
        assert plan == dense_plan(TINY)
        assert counts(plan) == {}
        assert set(plan.removed.values()) == {0.0}
        assert plan.token_ratio == 0


def attempt(
    shape: Shape, method: Reduction, budget: float, schedule: Schedule = CONSTANT_RATIO
) -> Plan | BudgetUnreachable:
    try:
        return solve(problem(shape, method, schedule), budget)
    except BudgetUnreachable as error:
        return error


small = st.builds(
    replace,
    st.just(NANO),
    depth=st.integers(2, 24),
    dim=st.sampled_from([16, 64, 192]),
    patches=st.integers(40, 300),
    specials=st.integers(0, 4),
)


@dataclass(frozen=True)
class Limited:
    """A cap that is any share of the tokens, and a fixed price a token."""

    share: float
    price: int

    def cap(self, patches: int, specials: int) -> int:
        return min(int(patches * self.share), patches - 1)

    def cost(self, patches: int, removed: int, shape: Shape) -> Fee:
        return Fee(0, self.price * patches)


limited = st.builds(Limited, st.floats(0.0, 1.0), st.sampled_from([0, 100, 3000]))
any_schedule = st.sampled_from([*SCHEDULES, "every-2"]).map(find_schedule)


@settings(max_examples=150, deadline=None)
@given(small, limited, st.floats(0.02, 0.95), any_schedule)
def test_a_plan_is_exact_and_within_caps_or_the_budget_is_named_unreachable(
    shape: Shape, method: Limited, budget: float, schedule: Schedule
) -> None:
    plan = attempt(shape, method, budget, schedule)
    if isinstance(plan, BudgetUnreachable):
        assert abs(plan.nearest - budget) > 0.0024
        return
    assert abs(plan.removed["flops"] - budget) <= 0.0024
    standing = shape.patches
    for removed in counts(plan).values():
        assert 0 < removed <= method.cap(standing, shape.specials)
        standing -= removed
    assert plan.lengths[-1] == standing + shape.specials >= 1


@settings(max_examples=100, deadline=None)
@given(small, st.floats(0.05, 0.5), st.floats(0.05, 0.5), any_schedule)
def test_a_larger_budget_never_keeps_more_tokens_anywhere(
    shape: Shape, one: float, two: float, schedule: Schedule
) -> None:
    less, more = (attempt(shape, Free(), budget, schedule) for budget in sorted((one, two)))
    if isinstance(less, BudgetUnreachable) or isinstance(more, BudgetUnreachable):
        return
    assert all(after <= before for before, after in zip(less.lengths, more.lengths, strict=True))


@settings(max_examples=50, deadline=None)
@given(small, limited, st.floats(0.05, 0.6))
def test_solving_twice_gives_the_same(shape: Shape, method: Limited, budget: float) -> None:
    first, second = attempt(shape, method, budget), attempt(shape, method, budget)
    assert str(first) == str(second)


@pytest.mark.parametrize("budget", [0.1, 0.25, 0.4, 0.55])
def test_no_other_plan_of_the_shape_is_much_nearer(budget: float) -> None:
    """Brute force over all counts of a three-site problem: the solver is no further off than one token's worth."""
    shape = replace(NANO, depth=4, patches=12)
    whole = recount(shape, {}, Free())

    def off(removed: tuple[int, ...]) -> float:
        return abs(
            1 - recount(shape, dict(zip((1, 2, 3), removed, strict=True)), Free()) / whole - budget
        )

    everything = [removed for removed in product(range(12), repeat=3) if sum(removed) < 12]
    token = (1 - recount(shape, {3: 1}, Free()) / whole) * 1.01
    plan = attempt(shape, Free(), budget)
    if isinstance(plan, BudgetUnreachable):
        found = abs(plan.nearest - budget)
    else:
        found = off(tuple(counts(plan).get(site, 0) for site in (1, 2, 3)))
    assert found <= min(map(off, everything)) + token


def test_beyond_the_cap_names_the_maximum() -> None:
    with pytest.raises(BudgetUnreachable, match=r"95 % of the work: at most 80\.\d %") as caught:
        solve(problem(TINY, Bipartite()), 0.95)
    patches, removed = 196, {}
    for site in default_sites(range(1, 24)):
        removed[site] = patches // 2
        patches -= patches // 2
    most = 1 - recount(TINY, removed, Bipartite()) / recount(TINY, {}, Bipartite())
    assert caught.value.nearest == pytest.approx(most)
    assert counts(solve(problem(TINY, Bipartite()), most)) == {
        site: tokens for site, tokens in removed.items() if tokens
    }


def test_too_few_tokens_for_the_budget_says_so() -> None:
    with pytest.raises(BudgetUnreachable, match="no whole number of tokens"):
        solve(problem(replace(NANO, depth=3, patches=4), Free()), 0.21)


def test_equal_counts_whatever_the_method_costs() -> None:
    free, dear = (
        solve_tokens(problem(TINY, Free()), 0.4),
        solve_tokens(problem(TINY, Bipartite()), 0.4),
    )
    assert free.removals == dear.removals
    assert free.removed["flops"] == pytest.approx(0.4, abs=0.002)
    assert dear.removed["flops"] < free.removed["flops"]


def test_equal_counts_beyond_a_cap_name_the_largest_budget() -> None:
    tenth = Limited(0.1, 0)
    with pytest.raises(BudgetUnreachable, match="equal counts") as caught:
        solve_tokens(problem(TINY, tenth), 0.6)
    most = caught.value.nearest
    assert 0.2 < most < 0.6
    assert solve_tokens(problem(TINY, tenth), most - 0.01).removed["flops"] == pytest.approx(
        most - 0.01, abs=0.002
    )
    with pytest.raises(BudgetUnreachable):
        solve_tokens(problem(TINY, tenth), most + 0.01)


def test_counts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="99 of 196"):
        plan_of(TINY, {2: 99}, Bipartite())
    with pytest.raises(ValueError, match="-1 of 196"):
        plan_of(TINY, {2: -1})


@pytest.mark.parametrize("budget", BUDGETS)
def test_nearest_grid_is_the_nearest_of_all(budget: float) -> None:
    grid = nearest_grid(TINY, budget, "flops")

    def off(side: int) -> float:
        return abs(
            1
            - recount(replace(TINY, patches=side**2), {}, Free()) / recount(TINY, {}, Free())
            - budget
        )

    assert off(grid) == min(off(side) for side in range(1, 15))
    plan = smaller_image(TINY, grid)
    assert plan.lengths == (grid**2 + 1,) * 24
    assert counts(plan) == {}
    assert abs(plan.removed["flops"] - budget) == pytest.approx(off(grid))


def test_nearest_grid_needs_a_square() -> None:
    with pytest.raises(BudgetUnreachable, match="square"):
        nearest_grid(replace(TINY, patches=1568), 0.4, "flops")

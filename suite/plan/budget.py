"""Solve a budget: how many tokens leave at each site so that a given share of the work is removed.

`solve` (protocol `matched`) finds one scale for a method's schedule so that the total work, the
method's own cost included, meets the budget; `solve_tokens` (protocol `tokens`) gives every method
the counts that a cost-free removal would need. A budget that a method cannot meet raises
`BudgetUnreachable`; nothing is clamped. `suite.plan.layout` calls the solvers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import floor
from typing import Protocol

from backbones.shape import Shape
from suite.flops.closed_form import Cost, Flops, count, dense, total, totals
from suite.plan.schedule import Schedule
from suite.store.schema import AdaptiveCounts, Removal

# Farthest that the removed share may lie from the budget. Two cells of one budget are then within
# 0.48 point of each other, less than the 0.5 up to which they count as the same work. One token
# of a small image that leaves at the first site is worth 0.43 point, so less would exclude it.
TOLERANCE = 0.0024
BISECTIONS = 60  # more than the 53 bits of a scale

Survivors = tuple[int, ...]  # patch tokens left after each site


class Reduction(Protocol):
    """What the solver uses of a method's composition."""

    def cap(self, patches: int, specials: int) -> int:
        """Most of `patches` tokens that can leave at one site, beside `specials` that never do."""
        ...

    def cost(self, patches: int, removed: int, shape: Shape) -> Cost:
        """Work of removing `removed` of `patches` patch tokens at one site."""
        ...


class BudgetUnreachable(Exception):  # noqa: N818  (it makes a skipped cell, and is no fault)
    """No plan of this method on these sites meets the budget; the message is the cell's reason.

    `budget` is the requested share of work, `nearest` the closest one that can be removed.
    """

    def __init__(self, budget: float, nearest: float, why: str) -> None:
        super().__init__(why)
        self.budget = budget
        self.nearest = nearest


@dataclass(frozen=True)
class Free:
    """A reduction without cost that leaves at least one patch token; also its own `Cost`."""

    matmul_macs: int = 0
    arithmetic: int = 0

    def cap(self, patches: int, specials: int) -> int:
        """All but one."""
        return max(0, patches - 1)

    def cost(self, patches: int, removed: int, shape: Shape) -> Cost:
        """Zero."""
        return self


@dataclass(frozen=True)
class Plan:
    """What is removed at each site, and the work that remains.

    Attributes:
        removals: what leaves at each site; sites without removal are left out.
        lengths: tokens entering each block, special ones included.
        flops: work by kind.
        total: work under each convention.
        removed: share of the dense model's work removed, under each convention.
        token_ratio: share of tokens missing, of those that enter all blocks of the dense model.
        adaptive: of adaptive counts, whose plan is the mean of images (`suite.plan.adaptive`).

    """

    removals: Mapping[int, Removal]
    lengths: tuple[int, ...]
    flops: Flops
    total: Mapping[str, int]
    removed: Mapping[str, float]
    token_ratio: float
    adaptive: AdaptiveCounts | None = None


def plan_of(shape: Shape, counts: Mapping[int, int], reduction: Reduction | None = None) -> Plan:
    """Make the plan that removes `counts[site]` tokens at each site.

    ValueError if they do not fit the sequence, exceed the cap of `reduction`, or leave no map that
    could be halved between stages (`suite.plan.grid_budget.grid_plan` keeps one).
    """
    reduction = Free() if reduction is None else reduction
    counts = {site: tokens for site, tokens in sorted(counts.items()) if tokens}
    if counts and shape.halvings:
        raise ValueError(f"{shape.name} halves its map of tokens, and single tokens leave none")
    patches = shape.patches
    for site, tokens in counts.items():
        if site not in shape.sites or not 0 <= tokens <= reduction.cap(patches, shape.specials):
            raise ValueError(
                f"cannot remove {tokens} of {patches} patch tokens before block {site}"
            )
        patches -= tokens
    lengths, costs = _lengths_and_costs(shape, counts, reduction)
    removals = {site: Removal(tokens=tokens) for site, tokens in counts.items()}
    return finished(shape, removals, tuple(lengths), count(shape, lengths, costs), shape)


def dense_plan(shape: Shape) -> Plan:
    """Make the plan that removes nothing."""
    return plan_of(shape, {})


def _lengths_and_costs(
    shape: Shape, counts: Mapping[int, int], reduction: Reduction
) -> tuple[list[int], list[Cost]]:
    """Tokens entering each block, and the cost of the reduction at each site that removes some."""
    if not counts:
        return list(shape.lengths), []
    patches, lengths, costs = shape.patches, [], []
    for block in range(shape.depth):
        tokens = counts.get(block, 0)
        if tokens:
            costs.append(reduction.cost(patches, tokens, shape))
            patches -= tokens
        lengths.append(patches + shape.specials)
    return lengths, costs


def finished(
    shape: Shape,
    removals: Mapping[int, Removal],
    lengths: tuple[int, ...],
    work: Flops,
    whole: Shape,
) -> Plan:
    """Add totals, and shares of the dense model `whole`."""
    # Of the dense model at its full size, also for a smaller image.
    after, before = totals(work), totals(dense(whole))
    removed = {name: 1 - after[name] / before[name] for name in after}
    token_ratio = 1 - sum(lengths) / sum(whole.lengths)
    return Plan(removals, lengths, work, after, removed, token_ratio)


@dataclass(frozen=True)
class Problem:
    """One method on one backbone: from a scale to survivors, and on to the share removed.

    `sites` ascend (see `suite.plan.schedule.check_sites`); `convention` is how FLOPs are counted.
    """

    shape: Shape
    reduction: Reduction
    sites: Sequence[int]
    schedule: Schedule
    convention: str

    @cached_property
    def weights(self) -> dict[int, float]:
        """Weight of each site that removes anything."""
        weights = self.schedule.weights(self.sites, self.shape.depth)
        # Sites of weight zero never remove anything; without them every site bounds the scale.
        return {site: weight for site, weight in zip(self.sites, weights, strict=True) if weight}

    @cached_property
    def dense_work(self) -> int:
        """Work of the dense model."""
        return total(dense(self.shape), self.convention)

    @property
    def largest_scale(self) -> float:
        """The scale from which on every site takes all that its cap allows."""
        return 1.0 / min(self.weights.values())

    def survivors(self, scale: float) -> Survivors:
        """Patch tokens left after each site: the schedule's curve, rounded, within the caps."""
        target, patches = float(self.shape.patches), self.shape.patches
        left = []
        for weight in self.weights.values():
            # Either a share of what arrives, or the same number of tokens everywhere.
            base = target if self.schedule.of == "current" else float(self.shape.patches)
            # The curve goes on in fractions of tokens, so that roundings do not add up.
            target = max(0.0, target - base * min(1.0, scale * weight))
            least = patches - self.reduction.cap(patches, self.shape.specials)
            patches = min(patches, max(floor(target + 0.5), least))
            left.append(patches)
        return tuple(left)

    def steps(self, survivors: Survivors) -> list[tuple[int, int]]:
        """Patch tokens before and after each site."""
        return list(zip((self.shape.patches, *survivors[:-1]), survivors, strict=True))

    def counts(self, survivors: Survivors) -> dict[int, int]:
        """Tokens removed at each site, by block."""
        removed = [before - after for before, after in self.steps(survivors)]
        return dict(zip(self.weights, removed, strict=True))

    def removed(self, survivors: Survivors) -> float:
        """Share of the dense model's work removed, less the method's own cost."""
        lengths, costs = _lengths_and_costs(self.shape, self.counts(survivors), self.reduction)
        return 1 - total(count(self.shape, lengths, costs), self.convention) / self.dense_work

    def within_caps(self, survivors: Survivors, reduction: Reduction) -> bool:
        """Whether every site removes between nothing and the cap of `reduction`."""
        for before, after in self.steps(survivors):
            if not 0 <= before - after <= reduction.cap(before, self.shape.specials):
                return False
        return True


def _bisect(problem: Problem, reached: Callable[[Survivors], bool]) -> tuple[Survivors, Survivors]:
    """Bracket a condition by neighbouring survivors, the first not `reached`, the second `reached`.

    The condition must hold at the largest scale.
    """
    # Removal grows with the scale, so that bisection finds the one crossing.
    low, high = 0.0, problem.largest_scale
    below, above = problem.survivors(low), problem.survivors(high)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        tried = problem.survivors(middle)
        if reached(tried):
            high, above = middle, tried
        else:
            low, below = middle, tried
        gaps = [more - fewer for more, fewer in zip(below, above, strict=True)]
        if max(gaps) <= 1 and sum(gaps) <= 1:
            break  # one token apart: nothing lies between them
    return below, above


def _between(problem: Problem, below: Survivors, above: Survivors) -> list[Survivors]:
    """Every step from `below` to `above` by one token at a time, the latest sites first.

    One scale can move several sites at once, by more work than the tolerance; the steps between
    come nearer to the budget. Late sites first, since a token there is worth the least work.
    """
    steps, now = [below], list(below)
    while tuple(now) != above:
        for index in reversed(range(len(now))):
            following = now[index + 1] if index + 1 < len(now) else 0
            if now[index] > max(above[index], following):
                now[index] -= 1
                steps.append(tuple(now))
                break
        else:
            break  # caps allow no further step
    return [step for step in steps if problem.within_caps(step, problem.reduction)] + [above]


def solve(problem: Problem, budget: float) -> Plan:
    """Find the plan whose removed share of work, the method's own cost included, meets `budget`.

    `budget` is a fraction (0.4: 40 %). `BudgetUnreachable` if the caps do not allow it, or if no
    whole number of tokens comes within 0.24 point.
    """
    if budget == 0:
        return dense_plan(problem.shape)
    # A method may cost more than it saves: even its caps can fall short of the budget.
    most = problem.removed(problem.survivors(problem.largest_scale))
    check_allowed(budget, most)
    below, above = _bisect(problem, lambda tried: problem.removed(tried) >= min(budget, most))
    steps = _between(problem, below, above)
    best = min(steps, key=lambda step: abs(problem.removed(step) - budget))
    achieved = problem.removed(best)
    # Small sequences have few plans; one that is far off would be compared unfairly.
    if abs(achieved - budget) > TOLERANCE:
        why = (
            f"no whole number of tokens removes {percent(budget)} of the work, nearest is "
            f"{100 * achieved:.2f} %"
        )
        raise BudgetUnreachable(budget, achieved, why)
    return plan_of(problem.shape, problem.counts(best), problem.reduction)


def check_allowed(budget: float, most: float) -> None:
    """`BudgetUnreachable` if at `most` so large a share of work can be removed."""
    if most < budget - TOLERANCE:
        why = f"at most {100 * most:.1f} % on these sites"
        raise BudgetUnreachable(budget, most, f"cannot remove {percent(budget)} of the work: {why}")


def solve_tokens(problem: Problem, budget: float) -> Plan:
    """Give a method the counts that a cost-free removal needs for `budget`: equal for all methods.

    `BudgetUnreachable` if the method's cap is below one of these counts.
    """
    shape, reduction, free = problem.shape, problem.reduction, replace(problem, reduction=Free())
    counts = {site: removal.tokens for site, removal in solve(free, budget).removals.items()}
    patches = shape.patches
    for site, tokens in counts.items():
        cap = reduction.cap(patches, shape.specials)
        if tokens > cap:
            # The largest budget that this method can have, so that the message names a way out.
            most = free.removed(_largest_within_caps(free, reduction))
            why = (
                f"cannot remove the {tokens} of {patches} tokens due before block {site}, at most "
                f"{cap}: budgets up to {100 * most:.1f} % can be had with equal counts"
            )
            raise BudgetUnreachable(budget, most, why)
        patches -= tokens
    return plan_of(shape, counts, reduction)


def _largest_within_caps(problem: Problem, reduction: Reduction) -> Survivors:
    """Return the survivors at the largest scale at which no site exceeds its cap."""
    below, _ = _bisect(problem, lambda tried: not problem.within_caps(tried, reduction))
    return below


def nearest_grid(shape: Shape, budget: float, convention: str) -> int:
    """Patches a side of the smaller square image whose work is nearest to the budget.

    The smaller one in a tie. `BudgetUnreachable` for a backbone whose patches form no square.
    """
    if shape.side is None:
        why = f"{shape.name} has no square grid of patches to make smaller"
        raise BudgetUnreachable(budget, 0.0, why)

    def distance(grid: int) -> float:
        return abs(smaller_image(shape, grid).removed[convention] - budget)

    return min(range(1, shape.side + 1), key=distance)


def smaller_image(shape: Shape, grid: int) -> Plan:
    """Plan of an image, or clip, of grid x grid patches a frame, compared with the full one."""
    small = replace(shape, patches=shape.frames * grid * grid)
    return finished(small, {}, small.lengths, dense(small), shape)


def percent(share: float) -> str:
    """A share as it stands in messages: 42.5 %."""
    return f"{100 * share:.4g} %"

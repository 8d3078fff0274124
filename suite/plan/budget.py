"""From a budget to token counts: which plan removes a given share of a backbone's work.

`solve` (protocol `matched`) finds one scale for a method's schedule so that the total work, the
method's own cost included, meets the budget; `solve_tokens` (protocol `tokens`) gives every method
the counts that a cost-free removal would need. A budget that a method cannot meet raises
`BudgetUnreachable`; nothing is clamped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import floor
from typing import Any, Protocol

from backbones.shape import Shape
from suite.flops.closed_form import Cost, Flops, count, dense, total, totals
from suite.plan.schedule import CONSTANT_RATIO, Schedule, check_sites, default_sites

TOLERANCE = 0.002


class Composition(Protocol):
    """What the solver has to know of a method."""

    def cap(self, patches: int, specials: int) -> int:
        """How many of `patches` tokens, beside `specials` that never go, can go at one site, at most."""
        ...

    def cost(self, patches: int, removed: int, shape: Shape) -> Cost:
        """Work of removing `removed` of `patches` patch tokens at one site."""
        ...


class BudgetUnreachable(Exception):  # noqa: N818  (an outcome that makes a skipped cell, not a fault)
    """No plan of this method, on these sites, meets the budget; the message is one line for the skipped cell.

    `budget` is what was asked, `nearest` the closest share of work that can be removed.
    """

    def __init__(self, budget: float, nearest: float, why: str) -> None:
        super().__init__(why)
        self.budget = budget
        self.nearest = nearest


@dataclass(frozen=True)
class Free:
    """A removal that costs nothing and leaves at least one patch token."""

    matmul_macs: int = 0
    arithmetic: int = 0

    def cap(self, patches: int, specials: int) -> int:
        """All but one."""
        return max(0, patches - 1)

    def cost(self, patches: int, removed: int, shape: Shape) -> Cost:
        """Nothing."""
        return self


@dataclass(frozen=True)
class Plan:
    """Token counts and the work they leave.

    Attributes:
        counts: tokens removed at each site, sites without removal left out.
        lengths: tokens entering each block, special ones included.
        flops: work by kind.
        total: work under each convention.
        removed: share of the dense model's work removed, under each convention.
        token_ratio: mean share of tokens missing over the blocks.

    """

    counts: Mapping[int, int]
    lengths: tuple[int, ...]
    flops: Flops
    total: Mapping[str, int]
    removed: Mapping[str, float]
    token_ratio: float

    def record(self) -> dict[str, Any]:
        """The plan as JSON-able fields of a cell."""
        return {
            "counts": {str(site): removed for site, removed in self.counts.items()},
            "lengths": list(self.lengths),
            "flops": self.flops.by_kind(),
            "total": dict(self.total),
            "removed": dict(self.removed),
            "token_ratio": self.token_ratio,
        }


def plan_of(
    shape: Shape, counts: Mapping[int, int], composition: Composition | None = None
) -> Plan:
    """The plan that removes `counts[site]` tokens at each site; ValueError if they do not fit the sequence or cap."""
    composition = Free() if composition is None else composition
    kept = {site: removed for site, removed in sorted(counts.items()) if removed}
    if kept:
        check_sites(tuple(kept), shape)
    patches, lengths, costs = shape.patches, [], []
    for block in range(shape.depth):
        removed = kept.get(block, 0)
        if removed:
            if not 0 <= removed <= composition.cap(patches, shape.specials):
                raise ValueError(
                    f"cannot remove {removed} of {patches} patch tokens before block {block}"
                )
            costs.append(composition.cost(patches, removed, shape))
            patches -= removed
        lengths.append(patches + shape.specials)
    return _finished(shape, kept, tuple(lengths), count(shape, lengths, costs), shape)


def dense_plan(shape: Shape) -> Plan:
    """Nothing removed."""
    return plan_of(shape, {})


def _finished(
    shape: Shape, counts: Mapping[int, int], lengths: tuple[int, ...], work: Flops, whole: Shape
) -> Plan:
    """The plan with its totals, compared with the dense model `whole`."""
    after, before = totals(work), totals(dense(whole))
    fractions = {name: 1 - after[name] / before[name] for name in after}
    token_ratio = 1 - sum(lengths) / (whole.length * shape.depth)
    return Plan(counts, lengths, work, after, fractions, token_ratio)


class _Problem:
    """One method on one backbone: from a scale, or survivors after each site, to the share of work removed."""

    def __init__(
        self,
        shape: Shape,
        composition: Composition,
        sites: Sequence[int],
        schedule: Schedule,
        convention: str,
    ) -> None:
        self.shape, self.composition, self.convention = shape, composition, convention
        sites = check_sites(sites, shape)
        weighted = zip(sites, schedule.weights(sites, shape.depth), strict=True)
        self.weights = {site: weight for site, weight in weighted if weight > 0}
        self.sites = tuple(self.weights)
        self.of = schedule.of
        self.full = total(dense(shape), convention)
        self.widest = 1.0 / min(self.weights.values())

    def survivors(self, scale: float) -> tuple[int, ...]:
        """Patch tokens left after each site: the schedule's curve rounded to whole tokens, held back by the caps."""
        wanted, standing, left = float(self.shape.patches), self.shape.patches, []
        for weight in self.weights.values():
            base = wanted if self.of == "current" else float(self.shape.patches)
            wanted = max(0.0, wanted - base * min(1.0, scale * weight))
            standing = min(standing, max(floor(wanted + 0.5), standing - self.cap(standing)))
            left.append(standing)
        return tuple(left)

    def counts(self, survivors: Sequence[int]) -> dict[int, int]:
        """Tokens removed at each site."""
        before = (self.shape.patches, *survivors[:-1])
        return {
            site: old - new
            for site, old, new in zip(self.sites, before, survivors, strict=True)
            if old > new
        }

    def removed(self, survivors: Sequence[int]) -> float:
        """Share of the dense model's work that goes, the method's own cost paid."""
        lengths, costs, reached = [], [], 0
        standing = self.shape.patches
        for block in range(self.shape.depth):
            if reached < len(self.sites) and self.sites[reached] == block:
                if survivors[reached] < standing:
                    costs.append(
                        self.composition.cost(standing, standing - survivors[reached], self.shape)
                    )
                standing = survivors[reached]
                reached += 1
            lengths.append(standing + self.shape.specials)
        return 1 - total(count(self.shape, lengths, costs), self.convention) / self.full

    def cap(self, patches: int) -> int:
        """How many of `patches` tokens the method can remove at one site."""
        return self.composition.cap(patches, self.shape.specials)

    def allowed(self, survivors: Sequence[int]) -> bool:
        """Whether every site removes between nothing and its cap."""
        before = (self.shape.patches, *survivors[:-1])
        return all(
            0 <= old - new <= self.cap(old) for old, new in zip(before, survivors, strict=True)
        )


def _bisect(
    problem: _Problem, reached: Callable[[tuple[int, ...]], bool]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Neighbouring survivor tuples, the first not `reached`, the second `reached`; the widest scale must be."""
    low, high = 0.0, problem.widest
    below, above = problem.survivors(low), problem.survivors(high)
    for _ in range(60):
        middle = (low + high) / 2
        tried = problem.survivors(middle)
        if reached(tried):
            high, above = middle, tried
        else:
            low, below = middle, tried
        if (
            max(b - a for b, a in zip(below, above, strict=True)) <= 1
            and sum(below) - sum(above) <= 1
        ):
            break
    return below, above


def _between(
    problem: _Problem, below: tuple[int, ...], above: tuple[int, ...]
) -> list[tuple[int, ...]]:
    """Every step from `below` to `above` that hands out one token at a time, at the latest sites first."""
    steps, now = [below], list(below)
    while tuple(now) != above:
        for index in reversed(range(len(now))):
            floor_here = now[index + 1] if index + 1 < len(now) else 0
            if now[index] > above[index] and now[index] > floor_here:
                now[index] -= 1
                steps.append(tuple(now))
                break
        else:
            break
    return [step for step in steps if problem.allowed(step)] + [above]


def solve(
    shape: Shape,
    composition: Composition | None,
    budget: float,
    sites: Sequence[int] | None = None,
    schedule: Schedule = CONSTANT_RATIO,
    convention: str = "flops",
) -> Plan:
    """The plan whose removed share of work, the method's own cost included, is nearest to `budget` (0.4: 40 %).

    `composition` None is the method that removes nothing, and `sites` None the default ones. Raises
    `BudgetUnreachable` when the caps do not allow it or no whole number of tokens comes within 0.2
    point.
    """
    if composition is None:
        return dense_plan(shape)
    if budget == 0:
        return plan_of(shape, {}, composition)
    problem = _Problem(
        shape,
        composition,
        default_sites(shape.sites) if sites is None else sites,
        schedule,
        convention,
    )
    survivors = _matched(problem, budget)
    return plan_of(shape, problem.counts(survivors), composition)


def _matched(problem: _Problem, budget: float) -> tuple[int, ...]:
    most = problem.removed(problem.survivors(problem.widest))
    if most < budget - TOLERANCE:
        raise BudgetUnreachable(
            budget,
            most,
            f"cannot remove {100 * budget:.4g} % of the work: at most {100 * most:.1f} % on these sites",
        )
    below, above = _bisect(problem, lambda tried: problem.removed(tried) >= min(budget, most))
    best = min(
        _between(problem, below, above), key=lambda step: abs(problem.removed(step) - budget)
    )
    achieved = problem.removed(best)
    if abs(achieved - budget) > TOLERANCE:
        why = f"no whole number of tokens removes {100 * budget:.4g} % of the work, nearest is {100 * achieved:.2f} %"
        raise BudgetUnreachable(budget, achieved, why)
    return best


def solve_tokens(
    shape: Shape,
    composition: Composition | None,
    budget: float,
    sites: Sequence[int] | None = None,
    schedule: Schedule = CONSTANT_RATIO,
    convention: str = "flops",
) -> Plan:
    """The plan with the counts that a cost-free removal needs for `budget`: the same tokens for every method.

    Raises `BudgetUnreachable` when the method's cap is below one of these counts.
    """
    if composition is None:
        return dense_plan(shape)
    free = solve(shape, Free(), budget, sites, schedule, convention)
    standing = shape.patches
    for site, removed in free.counts.items():
        cap = composition.cap(standing, shape.specials)
        if removed > cap:
            where = default_sites(shape.sites) if sites is None else sites
            most = _most_tokens(_Problem(shape, Free(), where, schedule, convention), composition)
            why = (
                f"cannot remove the {removed} of {standing} tokens due before block {site}, at most {cap}: "
                f"budgets up to {100 * most:.1f} % can be had with equal counts"
            )
            raise BudgetUnreachable(budget, most, why)
        standing -= removed
    return plan_of(shape, free.counts, composition)


def _most_tokens(problem: _Problem, composition: Composition) -> float:
    """The largest share of work that a cost-free removal takes while every count stays within `composition`'s cap."""

    def too_many(survivors: tuple[int, ...]) -> bool:
        before = (problem.shape.patches, *survivors[:-1])
        specials = problem.shape.specials
        return any(
            old - new > composition.cap(old, specials)
            for old, new in zip(before, survivors, strict=True)
        )

    below, _ = _bisect(problem, too_many)
    return problem.removed(below)


def nearest_grid(shape: Shape, budget: float, convention: str = "flops") -> int:
    """Patches along one side of the smaller square image whose work comes closest to the budget; the smaller in a tie.

    Raises `BudgetUnreachable` for a backbone whose patches form no square.
    """
    if shape.side is None:
        raise BudgetUnreachable(
            budget, 0.0, f"{shape.name} has no square grid of patches to make smaller"
        )
    return min(
        range(1, shape.side + 1),
        key=lambda grid: (
            abs(smaller_image(shape, grid).removed[convention] - budget),
            grid,
        ),
    )


def smaller_image(shape: Shape, grid: int) -> Plan:
    """The plan of an image, or a clip, of grid x grid patches a frame, compared with the full one, all kept."""
    small = replace(shape, patches=shape.frames * grid * grid)
    lengths = (small.length,) * small.depth
    return _finished(small, {}, lengths, dense(small), shape)

"""Solve a budget in whole rows and columns, for methods that keep a map of tokens a rectangle.

At every site a map of (rows, columns) becomes a smaller one. The schedule says which share of the
tokens should be left after each site; the maps nearest to that share, within a line of it and of
about the sides' first ratio, are candidates, and of all chains of candidates the one is taken that
removes the asked share of work most nearly: of those within 0.05 point, the one that follows the
schedule best. A small map has few chains, so that the share removed may be far off: the plan says
what it is.

Where a backbone halves its map between stages, what is left of one stage arrives halved, rounded
up, in the next, and shares and ratios are of the dense model's map at that block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log, sqrt
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from backbones.shape import Shape, halved
from suite.flops.closed_form import Cost, Flops, block_flops, count, stem_flops, total
from suite.plan.budget import (
    BISECTIONS,
    Free,
    Plan,
    Problem,
    check_allowed,
    dense_plan,
    finished,
)
from suite.store.schema import Removal

Rectangle = tuple[int, int]
IntArray = NDArray[np.int64]
CLOSE = 0.0005  # chains that remove shares so near to the budget differ in how they follow it
BUCKET = 0.0001  # of shares removed, of which one chain is followed on
SLIM = log(4 / 3)  # how far the ratio of the sides may be from that of the whole map
# maps tried at each site, by the number of sites: of few sites there are fewer chains
CANDIDATES = ((4, 12), (1, 10_000))
FEWEST = 4


class GridReduction(Protocol):
    """What the solver uses of a composition that keeps a rectangle."""

    def cap_of_line(self, cells: int) -> int:
        """Most of the `cells` of a row or column that can leave at one site."""
        ...

    def cost_on_grid(self, before: Rectangle, after: Rectangle, shape: Shape) -> Cost:
        """Work of narrowing the map `before` to `after`."""
        ...


@dataclass(frozen=True)
class Costless:
    """A reduction that can do what `other` can, without cost."""

    other: GridReduction

    def cap_of_line(self, cells: int) -> int:
        """That of the other."""
        return self.other.cap_of_line(cells)

    def cost_on_grid(self, before: Rectangle, after: Rectangle, shape: Shape) -> Cost:
        """Zero."""
        return Free()


def cells_of(rectangle: Rectangle) -> int:
    """Number of its cells."""
    return rectangle[0] * rectangle[1]


def ladder(whole: Rectangle) -> list[Rectangle]:
    """The maps from `whole` to a single cell, each a row or a column smaller than the one before.

    Whichever keeps the ratio of the sides nearer to the first; of equals a column goes.
    """
    steps, now = [whole], whole
    while now != (1, 1):
        rows, columns = now
        fewer = []
        if columns > 1:
            fewer.append((rows, columns - 1))
        if rows > 1:
            fewer.append((rows - 1, columns))
        now = min(fewer, key=lambda smaller: slimness(smaller, whole))
        steps.append(now)
    return steps


def slimness(rectangle: Rectangle, whole: Rectangle) -> float:
    """How far the ratio of the sides is from that of `whole`: the log of their quotient, absolute.

    Rounded, so that a map and its mirror image are equals.
    """
    ratio = rectangle[0] * whole[1] / (rectangle[1] * whole[0])
    return round(abs(log(ratio)), 9)


def fits(before: Rectangle, after: Rectangle, reduction: GridReduction) -> bool:
    """Whether a site can narrow the map `before` to `after`."""
    for cells, left in zip(before, after, strict=True):
        if not 0 <= cells - left <= reduction.cap_of_line(cells):
            return False
    return True


def grid_plan(shape: Shape, left: Mapping[int, Rectangle], reduction: GridReduction) -> Plan:
    """Make the plan in which the map `left[site]` is left after each site.

    ValueError if it does not fit the one that arrives.
    """
    now = _whole(shape)
    removals: dict[int, Removal] = {}
    lengths, costs = [], []
    for block in range(shape.depth):
        now = halved(now) if block in shape.halvings else now
        after = left.get(block, now)
        if after != now:
            if block not in shape.sites or not fits(now, after, reduction):
                raise ValueError(
                    f"cannot narrow {now[0]} x {now[1]} patch tokens to {after[0]} x {after[1]} "
                    f"before block {block}"
                )
            removals[block] = Removal(
                tokens=cells_of(now) - cells_of(after),
                rows=now[0] - after[0],
                columns=now[1] - after[1],
            )
            costs.append(reduction.cost_on_grid(now, after, shape.at(block)))
            now = after
        lengths.append(cells_of(now) + shape.specials)
    work = count(shape, lengths, costs, on_grid=True)
    return finished(shape, removals, tuple(lengths), work, shape)


def plan_near(shape: Shape, counts: Mapping[int, int], reduction: GridReduction) -> Plan:
    """Make the plan whose maps are nearest to removing `counts[site]` tokens at each site.

    They are those of the `ladder`; of two equally near ones the larger. Within a stage what one
    site removes too much or too little is made up for at the next.
    """
    now = _whole(shape)
    tokens, left = cells_of(now), dict[int, Rectangle]()
    for block in range(shape.depth):
        if block in shape.halvings:
            now = halved(now)
            tokens = cells_of(now)
        if block in counts:
            tokens -= counts[block]
            maps = ladder(shape.rectangles[block])
            left[block] = now = _nearest(maps, now, tokens, reduction)
    return grid_plan(shape, left, reduction)


def _nearest(
    maps: Sequence[Rectangle], before: Rectangle, tokens: float, reduction: GridReduction
) -> Rectangle:
    """The one of `maps`, largest first, that is nearest to so many tokens and fits, or `before`."""
    fitting = [before, *(after for after in maps if fits(before, after, reduction))]
    return min(fitting, key=lambda after: abs(cells_of(after) - tokens))


def _whole(shape: Shape) -> Rectangle:
    assert shape.rectangle is not None  # others are refused before a plan is asked for
    return shape.rectangle


class Front(NamedTuple):
    """Chains that end in one map: arrays of their n numbers.

    ``work``     of the blocks so far and the reductions
    ``strayed``  how far the chain is from the schedule
    ``before``   the map before, as its place in the list of fronts; ``parent`` the chain there
    """

    work: IntArray
    strayed: NDArray[np.float64]
    before: IntArray
    parent: IntArray


Fronts = dict[Rectangle, Front]


@dataclass(frozen=True)
class GridProblem:
    """A `Problem` of a composition that keeps a rectangle."""

    problem: Problem
    reduction: GridReduction

    @cached_property
    def sites(self) -> tuple[int, ...]:
        """The sites that remove anything."""
        return tuple(self.problem.weights)

    @cached_property
    def whole(self) -> Rectangle:
        """The unreduced map."""
        return _whole(self.problem.shape)

    @cached_property
    def wholes(self) -> list[Rectangle]:
        """The dense model's map at each site."""
        return [self.problem.shape.rectangles[site] for site in self.sites]

    @cached_property
    def ladders(self) -> dict[Rectangle, list[Rectangle]]:
        """The ladder of each map of the dense model, by that map (see `ladder`)."""
        return {whole: ladder(whole) for whole in self.wholes}

    @cached_property
    def halvings(self) -> list[int]:
        """How often the map is halved between the site before, or the beginning, and each site."""
        before, halvings = 0, []
        for site in self.sites:
            stage = self.problem.shape.stage(site)
            halvings.append(stage - before)
            before = stage
        return halvings

    def arriving(self, index: int, before: Rectangle) -> Rectangle:
        """The map at site number `index` where the site before left the map `before`."""
        for _ in range(self.halvings[index]):
            before = halved(before)
        return before

    @cached_property
    def start(self) -> int:
        """Work outside the blocks, and of those before the first site."""
        outside = total(stem_flops(self.problem.shape), self.problem.convention)
        return outside + self._blocks(0, self.sites[0], self.whole)

    @cached_property
    def _known(self) -> dict[tuple[int, Rectangle, Rectangle], int]:
        return {}

    def work(self, index: int, before: Rectangle, after: Rectangle) -> int:
        """Work of narrowing one map to another at site number `index`, and of the blocks behind.

        `before` is the map that arrives there.
        """
        key = index, before, after
        if key not in self._known:
            shape, work = self.problem.shape, 0
            if after != before:
                at_site = shape.at(self.sites[index])
                cost = self.reduction.cost_on_grid(before, after, at_site)
                own = Flops(reduction_macs=cost.matmul_macs, reduction_arithmetic=cost.arithmetic)
                work = total(own, self.problem.convention)
            ends = (*self.sites, shape.depth)
            self._known[key] = work + self._blocks(ends[index], ends[index + 1], after)
        return self._known[key]

    def _blocks(self, first: int, last: int, rectangle: Rectangle) -> int:
        """Work of the blocks from `first` to before `last`, where this map enters the first."""
        shape, work = self.problem.shape, 0
        for block in range(first, last):
            rectangle = halved(rectangle) if block in shape.halvings else rectangle
            length = cells_of(rectangle) + shape.specials
            work += total(block_flops(shape, block, length, True), self.problem.convention)
        return work

    def removed(self, maps: Sequence[Rectangle]) -> float:
        """Share of the dense model's work removed where the sites leave these maps."""
        work, before = self.start, self.whole
        for index, after in enumerate(maps):
            work += self.work(index, self.arriving(index, before), after)
            before = after
        return 1 - work / self.problem.dense_work

    def curve(self, scale: float) -> list[float]:
        """Patch tokens that the schedule leaves after each site, in fractions."""
        first = float(cells_of(self.whole))
        target, before, left = first, self.whole, []
        for whole, weight in zip(self.wholes, self.problem.weights.values(), strict=True):
            # a stage begins with the share that the one before has left
            target *= cells_of(whole) / cells_of(before)
            before = whole
            bases = {"current": target, "original": float(cells_of(whole)), "first": first}
            base = bases[self.problem.schedule.of]
            target = max(0.0, target - base * min(1.0, scale * weight))
            left.append(target)
        return left

    def along(self, scale: float) -> list[Rectangle]:
        """The maps of the ladder that are nearest to the schedule's curve."""
        maps, now = [], self.whole
        for index, tokens in enumerate(self.curve(scale)):
            steps = self.ladders[self.wholes[index]]
            now = _nearest(steps, self.arriving(index, now), tokens, self.reduction)
            maps.append(now)
        return maps

    def candidates(self, index: int, before: Rectangle, tokens: float) -> list[Rectangle]:
        """The maps nearest to so many `tokens` that site number `index` can leave of `before`.

        They are within a line of a square of so many; the nearest is one in any case.
        """

        def order(after: Rectangle) -> tuple[float, float, Rectangle]:
            return abs(cells_of(after) - tokens), slimness(after, self.wholes[index]), after

        most = FEWEST
        for sites, maps in CANDIDATES:
            if len(self.sites) <= sites:
                most = maps
        nearest, *others = sorted(self._fitting(index, before), key=order)[:most]
        line = sqrt(tokens) + 1
        return [nearest, *(after for after in others if abs(cells_of(after) - tokens) <= line)]

    def _fitting(self, index: int, before: Rectangle) -> Iterator[Rectangle]:
        """Every map that a site can leave of `before`, if it is not much slimmer than the whole."""
        whole = self.wholes[index]
        steps = self.ladders[whole]
        for rows in range(1, before[0] + 1):
            for columns in range(1, before[1] + 1):
                after = rows, columns
                # a map may have become slimmer by being halved
                near = slimness(after, whole) <= SLIM or after in steps or after == before
                if near and fits(before, after, self.reduction):
                    yield after

    def grown(self, fronts: Fronts, index: int, tokens: float) -> Fronts:
        """The chains of `fronts` with one more map, at a site that should leave so many tokens."""
        parts: dict[Rectangle, list[Front]] = {}
        whole = self.wholes[index]
        for place, (left, front) in enumerate(fronts.items()):
            before = self.arriving(index, left)
            for after in self.candidates(index, before, tokens):
                strayed = abs(cells_of(after) - tokens) / cells_of(whole)
                # the ratio of the sides decides between maps of equally many cells
                strayed += slimness(after, whole) / 1000
                longer = Front(
                    front.work + self.work(index, before, after),
                    front.strayed + strayed,
                    np.full(len(front.work), place),
                    np.arange(len(front.work)),
                )
                parts.setdefault(after, []).append(longer)
        step = BUCKET * self.problem.dense_work
        return {after: thinned(found, step) for after, found in parts.items()}

    def best(self, scale: float, budget: float) -> list[Rectangle]:
        """The chain nearest to the budget, of candidates near the schedule's curve."""
        nothing = np.zeros(1, np.int64)
        first = Front(nothing + self.start, np.zeros(1), nothing, nothing)
        layers: list[Fronts] = [{self.whole: first}]
        for index, tokens in enumerate(self.curve(scale)):
            layers.append(self.grown(layers[-1], index, tokens))
        ends = []
        for place, front in enumerate(layers[-1].values()):
            off = np.abs(1 - front.work / self.problem.dense_work - budget)
            chain = int(np.lexsort((front.strayed, np.maximum(off, CLOSE)))[0])
            ends.append((max(float(off[chain]), CLOSE), float(front.strayed[chain]), place, chain))
        _, _, place, chain = min(ends)
        maps = []
        for layer in reversed(layers[1:]):
            after = list(layer)[place]
            maps.append(after)
            place, chain = int(layer[after].before[chain]), int(layer[after].parent[chain])
        return maps[::-1]

    def solve(self, budget: float) -> dict[int, Rectangle]:
        """The map left after each site; `BudgetUnreachable` if the caps do not allow the budget."""
        return dict(zip(self.sites, self.best(self.scale(budget), budget), strict=True))

    def scale(self, budget: float) -> float:
        """The least scale of the schedule at which the maps along it remove the budget."""
        high = self.problem.largest_scale
        most = self.removed(self.along(high))
        check_allowed(budget, most)
        low = 0.0
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            if self.removed(self.along(middle)) >= min(budget, most):
                high = middle
            else:
                low = middle
        return high


def thinned(parts: Sequence[Front], step: float) -> Front:
    """All chains of `parts`; of those whose work is within a `step`, the one that strayed least."""
    work, strayed, before, parent = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    bucket = (work / step).astype(np.int64)
    order = np.lexsort((strayed, bucket))
    first = np.diff(bucket[order], prepend=-1) > 0
    kept = order[first]
    return Front(work[kept], strayed[kept], before[kept], parent[kept])


def solve_on_grid(problem: Problem, reduction: GridReduction, budget: float) -> Plan:
    """Find the plan whose removed share of work, the method's own cost included, meets `budget`.

    As near as whole rows and columns allow. `BudgetUnreachable` if the caps do not allow it.
    """
    if budget == 0:
        return dense_plan(problem.shape)
    return grid_plan(problem.shape, GridProblem(problem, reduction).solve(budget), reduction)


def solve_tokens_on_grid(problem: Problem, reduction: GridReduction, budget: float) -> Plan:
    """Give a method the maps that a cost-free removal needs for `budget`: equal for all methods.

    Equal for all that can take equally many lines at a site. Counts of others are met as near as
    maps allow.
    """
    if budget == 0:
        return dense_plan(problem.shape)
    maps = GridProblem(problem, Costless(reduction)).solve(budget)
    return grid_plan(problem.shape, maps, reduction)

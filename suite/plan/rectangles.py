"""Plans on whole pictures, which are no squares: the share of tokens that leaves is kept.

A budget is solved on the square that a backbone takes. Of a picture the same share of tokens leaves
at each site, or of rows and of columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from backbones.base import Backbone, Reducer
from backbones.shape import Shape, halved
from methods.composition import Composition
from suite.data.base import Dataset, IntArray
from suite.flops.closed_form import dense, total
from suite.plan.budget import Plan, plan_of
from suite.plan.cells import Cell
from suite.plan.grid_budget import grid_plan

NOT_ADAPTIVE = "its counts are solved on squares, which whole pictures are not: use slide"


def reducers_on(cell: Cell, shape: Shape) -> Mapping[int, Reducer]:
    """The reducer at each site of a cell, on images of this `shape`."""
    plan = cell.plan
    if not shape.rows or plan is None or not plan.token_ratio or cell.composition is None:
        return cell.reducers()
    rows, columns = shape.rectangle or (0, 0)
    if rows == columns and shape.length == plan.lengths[0]:
        return cell.reducers()  # a picture that is a square
    return replace(cell, plan=plan_on(cell, plan, shape)).reducers()


def plan_on(cell: Cell, plan: Plan, shape: Shape) -> Plan:
    """The plan of a cell on images of this `shape`, of the same shares as `plan` of the square."""
    composition = cell.composition
    assert composition is not None
    # No site is before the first block, which all tokens enter.
    square = replace(shape, patches=plan.lengths[0] - shape.specials, rows=0)
    if composition.keeps_rectangle:
        return grid_plan(shape, narrowed(plan, composition, square, shape), composition)
    left, counts = shape.patches, {}
    for site, removal in plan.removals.items():
        # caps are shares of what arrives, rounded down
        most = composition.cap(left, shape.specials)
        counts[site] = min(removal.tokens * shape.patches // square.patches, most)
        left -= counts[site]
    return plan_of(shape, counts, composition)


def narrowed(
    plan: Plan, composition: Composition, square: Shape, shape: Shape
) -> dict[int, tuple[int, int]]:
    """Rows and columns left after each site of `shape`: the shares that `plan` leaves of a square.

    Of the dense model's maps there, as near as whole lines and the cap allow.
    """
    maps = {}
    planned, now = square.rectangles[0], shape.rectangles[0]
    for block in range(shape.depth):
        if block in shape.halvings:
            planned, now = halved(planned), halved(now)
        removal = plan.removals.get(block)
        if removal is None:
            continue
        planned = planned[0] - removal.rows, planned[1] - removal.columns
        sides = []
        dense_maps = zip(square.rectangles[block], shape.rectangles[block], strict=True)
        for axis, (of_square, of_shape) in enumerate(dense_maps):
            wished = round(planned[axis] * of_shape / of_square)
            least = now[axis] - composition.cap_of_line(now[axis])
            sides.append(min(max(wished, least, 1), now[axis]))
        maps[block] = now = sides[0], sides[1]
    return maps


def without_adaptive(cells: list[Cell]) -> list[Cell]:
    """The cells, those of adaptive counts without a plan and with the reason."""
    return [
        replace(cell, plan=None, reason=NOT_ADAPTIVE) if cell.adaptive else cell for cell in cells
    ]


def mean_work(model: Backbone, data: Dataset, images: IntArray, convention: str) -> float:
    """Work of a whole picture over that of the square, of the dense model, mean over `images`."""
    square = total(dense(model.describe()), convention)
    known: dict[tuple[int, int], float] = {}
    works = []
    for layout in data.layouts(images, model.image_size):
        size = layout.height, layout.width
        if size not in known:
            shape = model.on_rectangle(*size).describe()
            known[size] = total(dense(shape), convention) / square
        works.append(known[size])
    return float(np.mean(works)) if works else 1.0

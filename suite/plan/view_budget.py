"""Solve a budget for a method that looks at a window of the image: how many patches it may have."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace

from backbones.shape import Shape
from methods.parts.view import View
from suite.flops.closed_form import count
from suite.plan.budget import BudgetUnreachable, Plan, finished, percent

# Farthest from the budget: half a patch of 14 x 14. A cell of another method is then within 0.5
# point, up to which two count as the same work.
TOLERANCE = 0.0026


@dataclass(frozen=True)
class Looking:
    """The work of finding a window, as the `Cost` of a reduction."""

    arithmetic: int
    matmul_macs: int = 0


def plan_of_view(shape: Shape, view: View, image_size: int) -> Plan:
    """Make the plan in which only the patches of `view` enter the blocks.

    All patches of its square grid are embedded, also those that are cut afterwards.
    """
    square = replace(shape, patches=shape.frames * view.grid**2)
    # tokens at each block, as the whole image has, less the patches that are not made
    fewer = shape.patches - shape.frames * view.patches
    lengths = tuple(length - fewer for length in shape.lengths)
    looking = Looking(view.cost(image_size, shape.channels, shape.frames))
    return finished(shape, {}, lengths, count(square, lengths, [looking]), shape)


def solve_view(
    shape: Shape, view: View, image_size: int, budget: float, convention: str
) -> tuple[View, Plan]:
    """Give `view` the number of patches whose plan is nearest to `budget`, of two the smaller.

    `BudgetUnreachable` if none comes within the tolerance, or the patches form no square.
    """
    if shape.side is None:
        why = f"{shape.name} has no square grid of patches to take a window of"
        raise BudgetUnreachable(budget, 0.0, why)
    whole = shape.side

    def removed(patches: int) -> float:
        sized = replace(view, patches=patches, whole=whole)
        return plan_of_view(shape, sized, image_size).removed[convention]

    # The share removed falls with the number of patches.
    numbers = range(1, whole**2)
    place = bisect_left(numbers, -budget, key=lambda patches: -removed(patches))
    near = numbers[max(0, place - 1) : place + 1]
    best = min(near, key=lambda patches: abs(removed(patches) - budget))
    if abs(removed(best) - budget) > TOLERANCE:
        why = (
            f"no number of patches removes {percent(budget)} of the work, nearest is "
            f"{100 * removed(best):.2f} %"
        )
        raise BudgetUnreachable(budget, removed(best), why)
    sized = replace(view, patches=best, whole=whole)
    return sized, plan_of_view(shape, sized, image_size)

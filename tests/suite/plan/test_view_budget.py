"""The patches of a view against a search over all numbers, and its work recounted."""

from dataclasses import replace

import pytest

from backbones import create_model
from backbones.shape import Shape
from methods.parts.view import View
from methods.spec import parse_all
from suite.config.run_spec import RunSpec
from suite.flops.closed_form import block_flops, dense, stem_flops, total
from suite.plan.budget import BudgetUnreachable
from suite.plan.cells import blind_on
from suite.plan.layout import layout
from suite.plan.settings import choose_settings
from suite.plan.view_budget import TOLERANCE, plan_of_view, solve_view

NANO = Shape("vim_nano", 8, 64, 128, 8, 4, 4, 2, (1, 4, 4), 3, 196, 1, 10)
TINY = Shape("vim_tiny", 24, 192, 384, 16, 12, 4, 2, (1, 16, 16), 3, 196, 1, 1000)
DETAIL = View(0.67, "detail")


@pytest.mark.parametrize("convention", ["flops", "macs", "paper"])
@pytest.mark.parametrize("budget", [0.05, 0.2, 0.4, 0.6, 0.9])
@pytest.mark.parametrize(("shape", "side"), [(NANO, 56), (TINY, 224)])
def test_the_number_of_patches_is_the_nearest_of_all(
    shape: Shape, side: int, budget: float, convention: str
) -> None:
    view, plan = solve_view(shape, DETAIL, side, budget, convention)
    distances = {}
    for patches in range(1, 196):
        tried = plan_of_view(shape, replace(DETAIL, patches=patches, whole=14), side)
        distances[patches] = abs(tried.removed[convention] - budget)
    assert distances[view.patches] == min(distances.values()) <= TOLERANCE
    assert view.whole == 14
    assert plan.lengths == (view.patches + 1,) * shape.depth


def test_its_work_is_that_of_its_tokens_a_larger_stem_and_the_look() -> None:
    """117 patches are cut from 11 x 11; each pixel and colour is looked at by 4 operations."""
    plan = plan_of_view(NANO, replace(DETAIL, patches=117, whole=14), 56)
    work = stem_flops(replace(NANO, patches=121))
    for block in range(NANO.depth):
        work = work + block_flops(NANO, block, 118)
    assert plan.total["flops"] == total(work) + 4 * 3 * 56 * 56
    assert plan.removed["flops"] == pytest.approx(1 - plan.total["flops"] / total(dense(NANO)))
    blind = plan_of_view(NANO, replace(DETAIL, where="centre", patches=117, whole=14), 56)
    assert blind.total["flops"] == total(work)


def test_small_grids_cannot_meet_every_budget() -> None:
    with pytest.raises(BudgetUnreachable, match="no number of patches removes 40 % of the work"):
        solve_view(replace(NANO, patches=16), DETAIL, 16, 0.4, "flops")
    with pytest.raises(BudgetUnreachable, match="no square grid"):
        solve_view(replace(NANO, patches=15), DETAIL, 16, 0.4, "flops")


def test_cells_of_a_run() -> None:
    """Every seed of a random window has a view; a backbone that needs a rectangle is skipped."""
    methods = parse_all(["crop-shrink", "crop-shrink[where=random]"])
    spec = RunSpec(methods=tuple(m.text for m in methods), budgets=(0.4,), seeds=2)
    cells = {}
    for name in ("vim_nano", "vmamba_nano"):
        model = create_model(name)
        chosen = choose_settings(methods, spec, blind=blind_on(model))
        cells[name] = [
            cell for cell in layout(name, model, chosen, spec, "") if cell.method in methods
        ]
    views = [cell.view for cell in cells["vim_nano"]]
    assert [(view.where, view.seed) for view in views if view] == [
        ("detail", 0),
        ("random", 0),
        ("random", 1),
    ]
    assert len({cell.key for cell in cells["vim_nano"]}) == 3
    assert {cell.image_size for cell in cells["vim_nano"]} == {44}
    for cell in cells["vmamba_nano"]:
        assert cell.plan is None
        assert "leaves no rectangle of tokens" in str(cell.reason)

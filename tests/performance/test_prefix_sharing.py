"""Evaluating cells as a tree costs little more than the work that they do not share."""

import pytest
from prefix_sharing import measure_sharing, table, work_share

from backbones import create_model
from methods.spec import parse
from suite.config.spec_file import build_spec
from suite.plan.layout import layout
from suite.plan.settings import choose_settings


def test_what_cells_share_is_counted_once() -> None:
    model = create_model("vim_nano")
    spec = build_spec(budgets=(0.4,), baselines=False)
    (dense,) = layout("vim_nano", model, choose_settings([], spec), spec, context="")
    assert work_share([dense], model.describe()) == 1
    chosen = choose_settings([parse("mtr")], spec)
    cells = layout("vim_nano", model, chosen, spec, context="")
    assert 0.5 < work_share(cells, model.describe()) < 1


@pytest.mark.slow
def test_the_tree_costs_a_tenth_at_most() -> None:
    row = measure_sharing(build_spec(), rounds=7, device="cpu")
    assert len(table(row).rows) == 1
    assert row.overhead <= 1.10

"""The cells of a published table, planned without its weights or its data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from backbones import without_weights
from backbones.base import Backbone
from methods.spec import MethodSpec
from suite.config.run_spec import RunSpec
from suite.plan.cells import Cell, blind_on
from suite.plan.layout import layout
from suite.plan.prepare import check_published, check_reachable
from suite.plan.settings import choose_settings, one_spelling
from suite.reproduce.table import PublishedTable, Value, spelled_methods
from suite.store.schema import SAME, CellRecord

Found = TypeVar("Found", Cell, CellRecord)


def planned_cells(spec: RunSpec, methods: Sequence[MethodSpec], model: Backbone) -> list[Cell]:
    """The cells of a comparison of one backbone; UserError if it cannot run."""
    (name,) = spec.named
    chosen = choose_settings(methods, spec, blind=blind_on(model))
    cells = layout(name, model, chosen, spec, context="")
    if spec.protocol == "paper":
        check_published(cells)
    check_reachable(cells)
    return cells


def plan_table(
    table: PublishedTable, spec: RunSpec
) -> tuple[Backbone, list[tuple[Value, list[Cell]]]]:
    """The backbone of a table, and its values with the cells of each, one a seed."""
    model = without_weights(table.backbone)
    spelled = spelled_methods(table, spec)
    cells = planned_cells(one_spelling(spec), list(spelled.values()), model)
    return model, [(value, cells_of(value, spelled, cells)) for value in table.cells]


def cells_of(
    value: Value, spelled: Mapping[str, MethodSpec], found: Iterable[Found]
) -> list[Found]:
    """Those of the cells, or of their records, that a published value is about, one a seed."""
    if value.is_dense:
        return [cell for cell in found if cell.budget is None and cell.label == value.method]
    label = spelled[value.method].label
    own = [cell for cell in found if label in cell.label.split(SAME)]
    if value.budget is None or not own:
        return own
    # Budgets so close that they come to one plan share the cell of the first.
    nearest = min(abs((cell.budget or 0.0) - value.budget) for cell in own)
    return [cell for cell in own if abs((cell.budget or 0.0) - value.budget) == nearest]

"""Methods that reduce before one block only, evaluated as cells like those of a comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from backbones.base import Backbone
from backbones.common.errors import UserError
from methods.spec import parse_all
from suite.analysis.tokens import kept_tables
from suite.plan.budget import dense_plan
from suite.plan.cells import DENSE, Cell
from suite.plan.layout import counted_plan, incompatibility, merge_equal
from suite.plan.prepare import Prepared
from suite.sensitivity.intervals import interval_rows, joined
from suite.sensitivity.spec import SensitivitySpec
from suite.store.results import Results
from suite.store.schema import CLASSIFICATION


def single_block_cells(
    spec: SensitivitySpec,
    model: Backbone,
    layers: Sequence[int],
    group: int,
    context: str,
) -> list[Cell]:
    """Lay out the dense cell, and one per method and layer that removes `group` tokens.

    A method that the backbone or its own cap rules out is a cell without a plan. UserError for a
    method that reduces no token sequence, or that brings a schedule of its own.
    """
    methods = parse_all(spec.methods)
    for method in methods:
        if method.method.kind != "sequence" or method.schedule:
            raise UserError(
                f"'{method}' cannot act before one block alone: name methods that reduce the token "
                f"sequence, no '@'"
            )
    base_cell = Cell(spec.called, DENSE, None, 0, None, None, model.image_size, context)
    cells = [replace(base_cell, plan=dense_plan(model.describe()))]
    for method in methods:
        composition = method.composition(model.provides)
        assert composition is not None  # only methods that resize the image have none
        cell = replace(base_cell, method=method, composition=composition, seed=spec.seed)
        cells += _cells_of_method(cell, model, layers, group)
    # Two texts of one composition are evaluated once.
    return merge_equal(cells)


def _cells_of_method(
    cell: Cell,
    model: Backbone,
    layers: Sequence[int],
    group: int,
) -> Iterator[Cell]:
    """Yield `cell` once per layer with its plan, or once with the reason why it cannot run."""
    assert cell.composition is not None
    if reason := incompatibility(cell.composition, model):
        yield replace(cell, reason=reason)
        return
    # Methods read the trace of the block before, and block 0 has none before it.
    sites = [layer for layer in layers if layer]
    shape = model.describe()
    try:
        plans = [counted_plan(shape, {site: group}, cell.composition) for site in sites]
    except ValueError as error:
        # Every layer has the same number of tokens here, so all plans fail or none does.
        yield replace(cell, reason=str(error))
        return
    for plan in plans:
        yield replace(cell, plan=plan)


def evaluated_cells(prepared: Prepared, failures: Mapping[str, str]) -> list[Cell]:
    """List the reduced cells that have results."""
    evaluated = []
    for cell in prepared.cells:
        # A skipped cell has no plan, and the dense one removes nothing.
        reduces = cell.plan is not None and cell.plan.removals
        if reduces and cell.key not in failures:
            evaluated.append(cell)
    return evaluated


def methods_table(
    prepared: Prepared, results: Results, failures: Mapping[str, str]
) -> pd.DataFrame:
    """Tabulate by method and block the mean changes against the dense model, with intervals.

    ``quantity`` is the change of the loss, the share of flips, or the KL; where an image is named
    also the change of the margin or top-1.
    """
    backbone = next(iter(prepared.spec.named))
    dense = results.outcomes(prepared.dense[backbone].key)
    rows = []
    for cell in evaluated_cells(prepared, failures):
        assert cell.plan is not None
        ((block, removal),) = cell.plan.removals.items()
        outcomes = results.outcomes(cell.key)
        changes = {
            "loss": outcomes.loss - dense.loss,
            # Whether an image's answer is the dense one's, or for which share of its pixels.
            "flip": 1 - outcomes.agree.astype(float),
            "kl": outcomes.kl,
        }
        if results.task == CLASSIFICATION:
            right = [(one.prediction == one.label_true).astype(float) for one in (outcomes, dense)]
            changes |= {"margin": outcomes.margin - dense.margin, "top1": right[0] - right[1]}
        keys = {"backbone": backbone, "label": cell.label, "block": [block]}
        for quantity, values in changes.items():
            per_image = values.to_numpy(np.float64)[:, None]
            row = interval_rows({**keys, "quantity": quantity}, per_image)
            rows.append(row | {"tokens_removed": [removal.tokens]})
    return pd.DataFrame(joined(rows)) if rows else pd.DataFrame()


def kept_table(prepared: Prepared, results: Results, failures: Mapping[str, str]) -> pd.DataFrame:
    """Tabulate by method and block how many of the images keep each grid position's token.

    ``kept`` is a share of the images; for clips the mean over their frames.
    """
    evaluated = {cell.key for cell in evaluated_cells(prepared, failures)}
    records = [record for record in prepared.records if record.key in evaluated]
    kept = kept_tables(prepared, results, records)["kept_tokens"]
    if kept.empty:
        return kept
    # Block 0 counts the tokens before the reduction, all of them; the other block is the cell's.
    reduced = kept[kept.block > 0].reset_index(drop=True)
    return reduced.drop(columns=["budget", "seed"])


def skipped_table(prepared: Prepared, failures: Mapping[str, str]) -> pd.DataFrame:
    """Tabulate the methods without results at some block, and why."""
    rows = []
    for cell in prepared.cells:
        reason = cell.reason or failures.get(cell.key)
        if reason:
            rows.append((cell.backbone, cell.label, reason))
    table = pd.DataFrame(rows, columns=["backbone", "label", "reason"])
    # A method that fails alike before several blocks is one row.
    return table.drop_duplicates()

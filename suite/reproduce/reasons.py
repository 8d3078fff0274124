"""Why a published value and the one measured here are not the same quantity."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

from backbones.checkpoints.published import resolve
from backbones.provenance import Provenance
from suite.data.base import UNDIVIDED, Dataset
from suite.flops.published import GIGA
from suite.reproduce.table import PublishedTable, Value

# Printed work is rounded, and a budget is met within 0.24 point; what is farther off is other work.
SAME_WORK = 0.015  # relative


def stated_reasons(table: PublishedTable, value: Value) -> list[str]:
    """What the table itself says, the value's own reasons first."""
    reasons = list(value.not_comparable)
    if value.retrained:
        how = f" ({value.retrained})" if isinstance(value.retrained, str) else ""
        reasons.insert(0, f"retrained in the source{how}, not here")
    if value.is_dense:
        return reasons
    doubt = [f"doubtful: {table.doubt}"] if table.doubt else []
    return [*reasons, *table.not_comparable, *doubt]


def flops_reasons(
    table: PublishedTable, value: Value, dense: Mapping[str, int], reduced: Mapping[str, int]
) -> list[str]:
    """Where the work that the source prints is not the work here.

    `dense` and `reduced` are the work of one image by convention; `reduced` is empty where there is
    no plan.
    """
    printed = table.dense.giga if table.dense else None
    here = dense[table.flops_convention]
    if printed is not None and differs(printed, here):
        count = f"{printed:g} G in the source, {here / GIGA:.4g} G here"
        return [f"other FLOPs convention: the dense model has {count}"]
    if value.giga is None or value.is_dense or not reduced:
        return []
    left = reduced[table.flops_convention]
    if differs(value.giga, left):
        return [f"other work: {value.giga:g} G in the source, {left / GIGA:.4g} G here"]
    return []


def differs(printed: float, here: int) -> bool:
    """Whether printed G operations are not the operations counted here."""
    return abs(printed * GIGA / here - 1) > SAME_WORK


def weights_reasons(table: PublishedTable, weights: Provenance | None) -> list[str]:
    """Whether the weights are another file than the table's."""
    named = resolve(table.checkpoint, table.backbone, table.data)
    if weights is None:
        return [f"other weights: random ones instead of {named}"]
    file = PurePath(weights.path).name
    if named in (weights.source, weights.path) or file == PurePath(named).name:
        return []
    return [f"other weights: {file} instead of {named}"]


def data_reasons(table: PublishedTable, dataset: Dataset) -> list[str]:
    """Whether the images are of another data set or split than the table's."""
    if dataset.name != table.data:
        return [f"other data: {dataset.name} instead of {table.data}"]
    if dataset.split not in (table.split, UNDIVIDED):
        return [f"other images: split {dataset.split} instead of {table.split}"]
    return []

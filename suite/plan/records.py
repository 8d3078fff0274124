"""What is written of a cell before it ran: its settings and its cost."""

from __future__ import annotations

from typing import Any

from suite.config.run_spec import RunSpec
from suite.plan.cells import Cell


def describe(cell: Cell, spec: RunSpec, images: int) -> dict[str, Any]:
    """All that is known of a cell before it ran, FLOPs by kind and convention included."""
    method = cell.method.method
    record: dict[str, Any] = {
        "key": cell.key,
        "status": "skipped" if cell.reason else "planned",
        "reason": cell.reason,
        "backbone": cell.backbone,
        "checkpoint": spec.checkpoint,
        "dataset": spec.data,
        "split": spec.split,
        "images": images,
        "method": cell.method.name,
        "label": cell.label,
        "spec": cell.method.text,
        "title": method.title,
        "family": method.family,
        "stochastic": cell.composition is not None and cell.composition.stochastic,
        "options": dict(cell.method.options),
        "composition": cell.composition.canonical() if cell.composition else None,
        "protocol": spec.protocol,
        "convention": spec.flops_convention,
        "precision": spec.precision,
        "image_size": cell.image_size,
        "budget": cell.budget,
        "seed": cell.seed,
        "metrics": None,
    }
    return record | (cell.plan.record() if cell.plan else {})

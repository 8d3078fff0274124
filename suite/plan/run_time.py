"""Estimate how long a run takes: the dense model is timed, the rest follows from FLOPs."""

from __future__ import annotations

import time
from collections.abc import Collection

import numpy as np
import torch

from backbones.base import Backbone
from backbones.shape import Shape
from methods.named.oracle import tokens_per_round
from suite.data import pictured
from suite.data.base import Dataset
from suite.flops.closed_form import block_flops, dense
from suite.flops.closed_form import total as flops_of
from suite.plan.budget import Plan
from suite.plan.cells import Cell
from suite.plan.prepare import Prepared
from suite.store.schema import Role

FEWEST = 2  # batches timed at least, however long they take
ENOUGH = 1.0  # seconds of timed batches


def dense_seconds(model: Backbone, dataset: Dataset, device: str, batch_size: int) -> float:
    """Seconds an image or a clip takes through the dense model, after a warm-up."""
    indices = np.arange(min(batch_size, len(dataset)))
    images = torch.from_numpy(dataset.samples(indices, model.image_size)).to(device)
    times: list[float] = []
    with torch.inference_mode():
        model(images).cpu()
        while len(times) < FEWEST or sum(times) < ENOUGH:
            started = time.perf_counter()
            model(images).cpu()
            times.append(time.perf_counter() - started)
    # The least, not the mean: whatever else the machine does only adds time.
    return min(times) / len(indices)


def estimate_seconds(prepared: Prepared) -> float:
    """Seconds for all cells of a run (see `seconds_by_role`)."""
    return sum(seconds_by_role(prepared).values())


def seconds_by_role(prepared: Prepared, done: Collection[str] = frozenset()) -> dict[Role, float]:
    """Seconds for all cells of a run and its gallery, by role, as if none shared a prefix.

    The cells of the keys `done` take none. Loading and the report are not counted, nor the pictures
    of first errors, which are not known before the run.
    """
    pictures = len(pictured(prepared.indices, prepared.spec.gallery))
    total: dict[Role, float] = {}
    for name, model in prepared.models.items():
        cells = [cell for cell in prepared.runnable[name] if cell.key not in done]
        if not cells:
            continue
        data = prepared.data[name].once()
        seconds = dense_seconds(model, data, prepared.device, prepared.spec.batch_size)
        for cell in cells:
            # The gallery shows the first seed only.
            images = len(prepared.indices) * prepared.mean_work[name]
            images += pictures if cell.seed == 0 and cell.shown else 0
            own = seconds * passes(cell, model.describe()) * images
            total[cell.role] = total.get(cell.role, 0.0) + own
    return total


def passes(cell: Cell, shape: Shape) -> float:
    """Cost of an image under `cell` in dense passes, by FLOPs, with the oracle's search."""
    assert cell.plan is not None
    left = 1 - cell.plan.removed["flops"]
    return left + (search_passes(cell.plan, shape) if cell.kind == "oracle" else 0.0)


def search_passes(plan: Plan, shape: Shape) -> float:
    """Cost of the oracle's search for an image in dense passes, by FLOPs."""
    work, patches = 0, shape.patches
    for site, removal in plan.removals.items():
        for count in tokens_per_round(removal.tokens):
            # In each round every patch token left is removed once, and the later blocks run again.
            length = patches - 1 + shape.specials
            blocks = [block_flops(shape, block, length) for block in range(site, shape.depth)]
            work += patches * sum(flops_of(block) for block in blocks)
            patches -= count
    return work / flops_of(dense(shape))

"""How long a run will take: the dense model is timed on one batch again and again, the rest follows from FLOPs."""

from __future__ import annotations

import time

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

FEWEST = 2  # batches that are timed, however long they take
ENOUGH = 1.0  # seconds of timed batches


def dense_seconds(model: Backbone, dataset: Dataset, device: str, batch: int) -> float:
    """Seconds an image or a clip takes through the dense model, after a warm-up.

    The least of the batches that take `ENOUGH` together, at least `FEWEST`: what else the machine
    does only adds time.
    """
    chosen = np.arange(min(batch, len(dataset)))
    images = torch.from_numpy(dataset.samples(chosen, model.image_size)).to(device)
    times: list[float] = []
    with torch.inference_mode():
        model(images).cpu()
        while len(times) < FEWEST or sum(times) < ENOUGH:
            started = time.perf_counter()
            model(images).cpu()
            times.append(time.perf_counter() - started)
    return min(times) / len(chosen)


def estimate_seconds(prepared: Prepared) -> float:
    """Seconds for all cells of a run and its gallery, as if none shared a prefix; loading and report come on top.

    The images that methods break first, which the gallery shows too, are not known before the run.
    """
    shown = len(pictured(prepared.indices, prepared.spec.gallery))
    total = 0.0
    for name, model in prepared.models.items():
        seconds = dense_seconds(
            model, prepared.data_for(model).once(), prepared.device, prepared.spec.batch_size
        )
        for cell in prepared.runnable(name):
            images = prepared.samples + (shown if cell.seed == 0 else 0)
            total += seconds * passes(cell, model.describe()) * images
    return total


def passes(cell: Cell, shape: Shape) -> float:
    """What an image costs under `cell`, in passes of the dense model by FLOPs; the oracle's search counts."""
    assert cell.plan is not None
    left = 1 - cell.plan.removed["flops"]
    return left + (search_passes(cell.plan, shape) if cell.kind == "oracle" else 0.0)


def search_passes(plan: Plan, shape: Shape) -> float:
    """What the oracle's search costs an image, in passes of the dense model by FLOPs.

    In each round every patch token still there is left out once, and the blocks from the site on
    are run without it.
    """
    work, patches = 0, shape.patches
    for site, remove in plan.counts.items():
        for count in tokens_per_round(remove):
            length = patches - 1 + shape.specials
            work += patches * sum(
                flops_of(block_flops(shape, block, length)) for block in range(site, shape.depth)
            )
            patches -= count
    return work / flops_of(dense(shape))

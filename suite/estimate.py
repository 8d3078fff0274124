"""How long a run will take: the dense model is timed on one batch again and again, the rest follows from FLOPs."""

from __future__ import annotations

import time

import numpy as np
import torch

from backbones.base import Backbone
from suite.data.base import Dataset
from suite.prepare import Prepared
from suite.runner import runnable

FEWEST = 2  # batches that are timed, however long they take
ENOUGH = 1.0  # seconds of timed batches


def dense_seconds(model: Backbone, dataset: Dataset, device: str, batch: int) -> float:
    """Seconds an image or a clip takes through the dense model, after a warm-up.

    The least of the batches that take `ENOUGH` together, at least `FEWEST`: what else the machine does only adds time.
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
    """Seconds for all cells of a run, as if none shared a prefix; loading and report come on top."""
    total = 0.0
    for name, model in prepared.models.items():
        seconds = dense_seconds(model, prepared.data_for(model).once(), prepared.device, prepared.spec.batch)
        shares = [1 - cell.plan.reduction_fraction["flops"] for cell in runnable(prepared, name) if cell.plan]
        total += seconds * sum(shares) * prepared.samples
    return total

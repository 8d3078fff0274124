"""Run what was prepared: batches outside, cells inside, one file a shard and cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from backbones.base import Backbone
from backbones.sequence import TokenSequence
from suite.cells import Cell
from suite.data.loader import batches
from suite.evaluate import Failure, evaluate
from suite.jobs import jobs_for
from suite.outcomes import outcomes
from suite.prepare import Prepared
from suite.presence import Presence
from suite.store import Store, slices
from suite.tau import Orders

Progress = Callable[[int], None]


@dataclass
class SliceResult:
    """What one slice of the data gave for each cell of one backbone."""

    parts: dict[str, list[pd.DataFrame]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    presence: Presence = field(default_factory=Presence)


def runnable(prepared: Prepared, backbone: str) -> list[Cell]:
    """The cells of `backbone` that have a plan, dense first."""
    return [cell for cell in prepared.cells if cell.backbone == backbone and cell.plan is not None]


def execute(prepared: Prepared, store: Store, progress: Progress) -> dict[str, str]:
    """Evaluate every shard that is not on disk yet; returns the reasons of the cells that failed, by key.

    `progress` is told how many images were done, cell by cell counted apart.
    """
    failures: dict[str, str] = {}
    for backbone, model in prepared.models.items():
        cells = runnable(prepared, backbone)
        for index, chosen in enumerate(slices(prepared.indices, prepared.spec.shard)):
            missing = [cell for cell in cells if cell.key not in failures and not store.has_shard(cell.key, index)]
            progress(len(chosen) * (len(cells) - len(missing)))
            if not missing:
                continue
            dense = prepared.dense(backbone)
            result = run_slice(prepared, model, chosen, dense, missing, progress)
            failures |= result.failures
            for cell in missing:
                if cell.key not in failures:
                    frame = pd.concat(result.parts[cell.key], ignore_index=True)
                    store.write_shard(cell.key, index, frame, result.presence.frame(cell.key))
    return failures


def run_slice(
    prepared: Prepared,
    model: Backbone,
    chosen: NDArray[np.int64],
    dense: Cell,
    cells: Sequence[Cell],
    progress: Progress,
) -> SliceResult:
    """Evaluate `cells` on the images `chosen`, every image decoded once."""
    result = SliceResult()
    wanted = {cell.key for cell in cells}
    side = model.describe().side
    grid = (side, side) if side and model.frames == 1 else None
    loader = batches(prepared.dataset, chosen, prepared.spec.batch, model.image_size, grid)
    with torch.inference_mode():
        for index, images, labels, foreground in loader:
            masks = None if foreground is None else place_specials(foreground.flatten(1), model.special_places)
            result.presence.begin_batch(masks)
            orders = Orders()
            found = batch_logits(model, images.to(prepared.device), index, labels, dense, cells, result, orders)
            for key in wanted & found.keys():
                frame = outcomes(found[key], found[dense.key], labels, index, orders.of(key, len(index)))
                result.parts.setdefault(key, []).append(frame)
            progress(len(images) * len(cells))
    return result


def batch_logits(
    model: Backbone,
    images: Tensor,
    index: Tensor,
    labels: Tensor,
    dense: Cell,
    cells: Sequence[Cell],
    result: SliceResult,
    orders: Orders,
) -> dict[str, Tensor]:
    """Logits by key of the dense cell and of every other of one batch; failures are recorded, not raised.

    Every cell is measured against the dense model, so all fail with it.
    """
    by_key = {cell.key: cell for cell in [dense, *cells]}
    by_size: dict[int, list[Cell]] = {}
    for cell in by_key.values():
        by_size.setdefault(cell.image_size, []).append(cell)
    found: dict[str, Tensor] = {}

    def observe(keys: Sequence[str], site: int, tokens: TokenSequence) -> None:
        result.presence.observe(keys, site, tokens)
        orders.observe(keys, site, tokens)

    for size, members in by_size.items():
        sized = model if size == model.image_size else model.resized(size)
        pixels = images if size == model.image_size else shrink(images, size)
        tokens = sized.embed(pixels, index)
        jobs = jobs_for([cell for cell in members if cell.key not in result.failures], sized, index, labels)
        if sized is model:
            result.presence.observe([job.key for job in jobs], 0, tokens)
        for job, logits in evaluate(sized, tokens, jobs, observe):
            failure = logits.reason if isinstance(logits, Failure) else not_finite(logits)
            if failure:
                result.failures[job.key] = failure
            elif not isinstance(logits, Failure):
                found[job.key] = logits
    if dense.key in result.failures:
        reason = f"the dense model failed: {result.failures[dense.key]}"
        result.failures = dict.fromkeys(by_key, reason) | result.failures
        return {}
    return found


def not_finite(logits: Tensor) -> str | None:
    """The reason to fail a cell whose logits are not numbers."""
    return None if bool(torch.isfinite(logits).all()) else "logits are not finite (NaN or infinity)"


def shrink(images: Tensor, size: int) -> Tensor:
    """Images, or clips frame by frame, at a smaller size: bicubic with antialiasing, as one made so small would be."""
    frames = images.transpose(1, 2).flatten(0, 1) if images.ndim == 5 else images
    small = F.interpolate(frames, size=(size, size), mode="bicubic", antialias=True, align_corners=False)
    return small.unflatten(0, (len(images), -1)).transpose(1, 2) if images.ndim == 5 else small


def place_specials(masks: Tensor, places: Sequence[int]) -> Tensor:
    """Masks over patches (B, P) as masks over the whole sequence (B, P + S), False at the special tokens."""
    full = torch.zeros(masks.shape[0], masks.shape[1] + len(places), dtype=torch.bool)
    is_patch = torch.ones(full.shape[1], dtype=torch.bool)
    is_patch[list(places)] = False
    full[:, is_patch] = masks
    return full

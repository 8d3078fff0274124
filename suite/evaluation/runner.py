"""Evaluate the cells of one backbone on a shard of the images: batches outside, cells inside."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from backbones.base import Backbone
from backbones.common.errors import UserError
from backbones.sequence import TokenSequence
from suite.data.loading.loader import Batch, batches
from suite.evaluation.outcomes import COLUMNS, outcomes
from suite.evaluation.token_counts import TokenCounts, tracked_subset
from suite.evaluation.token_order import OrderTracker
from suite.evaluation.tree import Failure, Job, evaluate, failures, jobs_for
from suite.evaluation.views import average_views, split_views
from suite.plan.cells import Cell
from suite.plan.prepare import Prepared
from suite.system.stopwatch import STOPWATCH

Progress = Callable[[int], None]


@dataclass(frozen=True)
class ShardResult:
    """Results of one shard, by key of the cell.

    ``outcomes``  a row an image (`suite.evaluation.outcomes.COLUMNS`), of the cells that succeeded
    ``tokens``    their counts of surviving tokens (`suite.evaluation.token_counts.TokenCounts.frame`)
    ``failures``  the reasons of the cells that failed
    ``halved``    the smaller batch that memory sufficed for, and how predictions differ with it
    """

    outcomes: Mapping[str, pd.DataFrame]
    tokens: Mapping[str, pd.DataFrame]
    failures: Mapping[str, str]
    halved: Mapping[str, int] | None = None


@dataclass(frozen=True)
class BatchResult:
    """Results of one batch of B samples, by key of the cell; logits (B, K) and tau (B,) of those that succeeded."""

    logits: Mapping[str, Tensor]
    tau: Mapping[str, Tensor]
    counts: TokenCounts
    failures: Mapping[str, str]


def evaluate_shard(
    prepared: Prepared,
    backbone: str,
    images: NDArray[np.int64],
    cells: Sequence[Cell],
    batch_size: int,
    progress: Progress,
) -> ShardResult:
    """Evaluate `cells` of `backbone` on `images`, numbers in the data set, `batch_size` at a time.

    Every image or video is decoded once. `progress` receives the number of outcomes, one image
    under one cell each, as they are done.
    """
    model, dense = prepared.models[backbone], prepared.dense(backbone)
    views = prepared.data_for(model).views
    tracked = tracked_subset(prepared.indices) * views  # of a video its first view
    # Every cell is compared with the dense model, which therefore runs even if its own shard is done.
    running = [dense, *(cell for cell in cells if cell.key != dense.key)]
    counts = TokenCounts()
    reasons: dict[str, str] = {}
    columns: dict[str, list[dict[str, NDArray[Any]]]] = {cell.key: [] for cell in cells}
    loader = shard_batches(prepared, model, images, batch_size)
    with torch.inference_mode(), closing(loader):
        for batch in loader:
            parts: list[BatchResult] = []
            with STOPWATCH.part("model"):
                for samples in split_views(batch, views, batch_size):
                    running = [cell for cell in running if cell.key not in reasons]
                    keep = np.isin(samples.indices.numpy(), tracked)
                    part = evaluate_batch(model, samples, running, dense.key, keep, prepared.device)
                    counts.add(part.counts)
                    reasons |= part.failures
                    parts.append(part)
            with STOPWATCH.part("outcomes"):
                keys = [key for key in columns if key not in reasons]
                rows = batch_outcomes(keys, dense.key, parts, batch, views) if keys else {}
                for row, key in enumerate(keys):
                    columns[key].append({name: values[row] for name, values in rows.items()})
            progress(len(batch.indices) * len(cells))
    done = [key for key in columns if key not in reasons]
    return ShardResult(
        outcomes={key: concatenate(columns[key]) for key in done},
        tokens={key: counts.frame(key) for key in done},
        failures=reasons,
    )


def shard_batches(
    prepared: Prepared, model: Backbone, images: NDArray[np.int64], batch_size: int
) -> Generator[Batch, None, None]:
    """Load `images` as `model` takes them, with masks of the object over its patches."""
    data = prepared.data_for(model)
    side = model.describe().side
    # Masks cover one image, not a clip, and need a grid of patches to lie on.
    grid = (side, side) if side and model.frames == 1 else None
    # The loader prepares the first batches of the next shard while this one ends.
    end = np.searchsorted(prepared.indices, images[-1], side="right")
    return batches(
        data,
        images,
        max(1, batch_size // data.views),
        model.image_size,
        grid,
        following=prepared.indices[end:],
    )


def batch_outcomes(
    keys: Sequence[str], dense: str, parts: Sequence[BatchResult], batch: Batch, views: int
) -> dict[str, NDArray[Any]]:
    """Outcomes (cells, B) of the cells `keys` on `batch`, whose samples ran in `parts`."""

    def logits_of(key: str) -> Tensor:
        return average_views(torch.cat([part.logits[key] for part in parts]), views)

    def tau_of(key: str) -> Tensor:
        return torch.cat([part.tau[key] for part in parts]).view(-1, views).mean(1)

    logits = torch.stack([logits_of(key) for key in keys])
    tau = torch.stack([tau_of(key) for key in keys])
    return outcomes(logits, logits_of(dense), batch.labels, batch.indices, tau)


def concatenate(rows: Sequence[Mapping[str, NDArray[Any]]]) -> pd.DataFrame:
    """Join the outcomes of one cell, batch by batch, to one table."""
    return pd.DataFrame({name: np.concatenate([row[name] for row in rows]) for name in COLUMNS})


def evaluate_batch(
    model: Backbone,
    batch: Batch,
    cells: Sequence[Cell],
    dense: str,
    tracked: NDArray[np.bool_],
    device: str,
) -> BatchResult:
    """Evaluate `cells` on one batch of samples; failures of cells are returned, not raised.

    With the cell `dense`, which all are measured against, all fail. Surviving tokens are kept one
    by one for the samples `tracked` (B,).
    """
    images = batch.images.to(device)
    counts = TokenCounts(token_masks(model, batch.foreground), tracked)
    order = OrderTracker()
    logits: dict[str, Tensor] = {}
    reasons: dict[str, str] = {}

    def observe(keys: Sequence[str], site: int, tokens: TokenSequence) -> None:
        with STOPWATCH.part("tokens"):
            counts.observe(keys, site, tokens)
            order.observe(keys, site, tokens)

    by_size: dict[int, list[Cell]] = {}
    for cell in cells:
        by_size.setdefault(cell.image_size, []).append(cell)
    for size, members in by_size.items():
        try:
            sized, tokens = embed(model, images, batch.indices, size)
        except UserError:
            raise
        except Exception as error:  # a third party's embedding may raise anything
            jobs = [Job(cell.key, {}) for cell in members]
            failed = failures(error, jobs, lambda _: "before block 0", len(images))
            reasons |= {job.key: failure.reason for job, failure in failed}
            continue
        if sized is model:  # a smaller image has other places, which are not counted
            counts.observe([cell.key for cell in members], 0, tokens)
        jobs = jobs_for(members, sized, batch.indices, batch.labels)
        for job, answer in evaluate(sized, tokens, jobs, observe):
            if isinstance(answer, Failure):
                reasons[job.key] = answer.reason
            elif not bool(torch.isfinite(answer).all()):
                reasons[job.key] = "logits are not finite (NaN or infinity)"
            else:
                logits[job.key] = answer
    if dense in reasons:
        reason = f"the dense model failed: {reasons[dense]}"
        reasons = dict.fromkeys((cell.key for cell in cells), reason) | reasons
        logits = {}
    tau = {key: order.mean_tau(key, len(images)) for key in logits}
    return BatchResult(logits, tau, counts, reasons)


def embed(
    model: Backbone, images: Tensor, index: Tensor, size: int
) -> tuple[Backbone, TokenSequence]:
    """Return `model` for images of this `size`, and the tokens that enter its first block."""
    if size == model.image_size:
        return model, model.embed(images, index)
    resized = model.resized(size)
    return resized, resized.embed(shrink(images, size), index)


def shrink(images: Tensor, size: int) -> Tensor:
    """Resize images (B, 3, S, S), or clips (B, 3, T, S, S) frame by frame, by bicubic filtering.

    With antialiasing, so that it is the image that a camera of fewer pixels would have taken.
    """
    frames = images.transpose(1, 2).flatten(0, 1) if images.ndim == 5 else images
    small = F.interpolate(
        frames, size=(size, size), mode="bicubic", antialias=True, align_corners=False
    )
    return small.unflatten(0, (len(images), -1)).transpose(1, 2) if images.ndim == 5 else small


def token_masks(model: Backbone, foreground: Tensor | None) -> Tensor | None:
    """Object masks over patches (B, rows, columns) as masks over the sequence (B, L); None if unknown."""
    if foreground is None:
        return None
    return place_specials(foreground.flatten(1), model.special_places)


def place_specials(masks: Tensor, places: Sequence[int]) -> Tensor:
    """Masks over patches (B, P) as masks over the whole sequence (B, P + S), False at the special tokens."""
    full = torch.zeros(masks.shape[0], masks.shape[1] + len(places), dtype=torch.bool)
    is_patch = torch.ones(full.shape[1], dtype=torch.bool)
    is_patch[list(places)] = False
    full[:, is_patch] = masks
    return full

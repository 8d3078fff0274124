"""Evaluate the cells of one backbone on a slice of the images: batches outside, cells inside."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
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
from suite.evaluation.jobs import jobs_for
from suite.evaluation.outcomes import COLUMNS, outcomes
from suite.evaluation.token_counts import Presence, watched
from suite.evaluation.token_order import Orders
from suite.evaluation.tree import Failure, Job, evaluate, failures
from suite.plan.cells import Cell
from suite.plan.prepare import Prepared
from suite.system.stopwatch import STOPWATCH

Progress = Callable[[int], None]


@dataclass
class SliceResult:
    """What one slice of the data gave for each cell of one backbone."""

    outcomes: dict[str, pd.DataFrame] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    presence: Presence = field(default_factory=Presence)
    halved: dict[str, int] | None = (
        None  # what came of a lack of memory, see `suite.execution.shards`
    )


def runnable(prepared: Prepared, backbone: str) -> list[Cell]:
    """The cells of `backbone` that have a plan, dense first."""
    return [cell for cell in prepared.cells if cell.backbone == backbone and cell.plan is not None]


def run_slice(
    prepared: Prepared,
    model: Backbone,
    chosen: NDArray[np.int64],
    dense: Cell,
    cells: Sequence[Cell],
    progress: Progress,
) -> SliceResult:
    """Evaluate `cells` on the images or videos `chosen`, every one decoded once."""
    result = SliceResult()
    wanted = [cell.key for cell in cells]
    data, at_once = prepared.data_for(model), prepared.spec.batch
    kept = watched(prepared.indices) * data.views  # of a video its first clip
    side = model.describe().side
    grid = (side, side) if side and model.frames == 1 else None
    rest = prepared.indices[np.searchsorted(prepared.indices, chosen[-1], side="right") :]
    loader = batches(
        data, chosen, max(1, at_once // data.views), model.image_size, grid, following=rest
    )
    columns: dict[str, list[dict[str, NDArray[Any]]]] = {}
    with torch.inference_mode(), closing(loader):
        for batch in loader:
            with STOPWATCH.part("model"):
                seen = [
                    sample_logits(prepared, model, part, kept, dense, cells, result)
                    for part in parts(batch, data.views, at_once)
                ]
            with STOPWATCH.part("outcomes"):
                keys = [key for key in wanted if all(key in logits for logits, _ in seen)]
                found = judged(keys, dense.key, seen, batch, data.views) if keys else {}
                for row, key in enumerate(keys):
                    columns.setdefault(key, []).append(
                        {name: values[row] for name, values in found.items()}
                    )
            progress(len(batch.indices) * len(cells))
    result.outcomes = {
        key: framed(parts) for key, parts in columns.items() if key not in result.failures
    }
    return result


def framed(parts: Sequence[Mapping[str, NDArray[Any]]]) -> pd.DataFrame:
    """The outcomes of one cell, batch by batch, as one table."""
    return pd.DataFrame({name: np.concatenate([part[name] for part in parts]) for name in COLUMNS})


def judged(
    keys: Sequence[str],
    dense: str,
    seen: Sequence[tuple[dict[str, Tensor], Orders]],
    batch: Batch,
    views: int,
) -> dict[str, NDArray[Any]]:
    """The outcomes (cells, B) of the cells `keys` on `batch`, whose samples were `seen` in parts."""
    of_cells = [averaged(torch.cat([logits[key] for logits, _ in seen]), views) for key in keys]
    of_dense = averaged(torch.cat([logits[dense] for logits, _ in seen]), views)
    tau = [torch.cat([orders.of(key, len(logits[key])) for logits, orders in seen]) for key in keys]
    tau_of_item = torch.stack([each.view(-1, views).mean(1) for each in tau])
    return outcomes(torch.stack(of_cells), of_dense, batch.labels, batch.indices, tau_of_item)


def parts(batch: Batch, views: int, most: int) -> Iterator[Batch]:
    """`batch` of items with `views` samples each as batches of at most `most` samples, each an item of its own."""
    if views == 1:
        yield batch
        return
    sample = (batch.indices[:, None] * views + torch.arange(views)).flatten()
    labels = batch.labels.repeat_interleave(views)
    for rows in torch.arange(len(sample)).split(most):
        yield Batch(sample[rows], batch.images[rows[0] : rows[-1] + 1], labels[rows])


def averaged(logits: Tensor, views: int) -> Tensor:
    """Logits (B, K) whose softmax is the mean of those of the `views` of each item, (B x views, K) item by item."""
    if views == 1:
        return logits
    first, *others = logits.double().log_softmax(1).unflatten(0, (-1, views)).unbind(1)
    # one after the other, so that the sum does not depend on the batch
    return functools.reduce(torch.logaddexp, others, first) - math.log(views)


def sample_logits(
    prepared: Prepared,
    model: Backbone,
    batch: Batch,
    kept: NDArray[np.int64],
    dense: Cell,
    cells: Sequence[Cell],
    result: SliceResult,
) -> tuple[dict[str, Tensor], Orders]:
    """Logits by key of one batch of samples, and how well their tokens stand in order.

    `kept` are the samples of the run whose surviving tokens are kept.
    """
    index, images, labels, foreground = batch
    masks = (
        None if foreground is None else place_specials(foreground.flatten(1), model.special_places)
    )
    result.presence.begin_batch(masks, torch.from_numpy(np.isin(index.numpy(), kept)))
    orders = Orders()
    return batch_logits(
        model, images.to(prepared.device), index, labels, dense, cells, result, orders
    ), orders


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
        with STOPWATCH.part("tokens"):
            result.presence.observe(keys, site, tokens)
            orders.observe(keys, site, tokens)

    for size, members in by_size.items():
        sound = [cell for cell in members if cell.key not in result.failures]
        try:
            sized, tokens = embedded(model, images, index, size)
        except UserError:
            raise
        except Exception as error:  # a third party's embedding may raise anything
            failed = failures(
                error,
                [Job(cell.key, {}) for cell in sound],
                lambda _: "before block 0",
                len(images),
            )
            result.failures |= {job.key: failure.reason for job, failure in failed}
            continue
        jobs = jobs_for(sound, sized, index, labels)
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


def embedded(
    model: Backbone, images: Tensor, index: Tensor, size: int
) -> tuple[Backbone, TokenSequence]:
    """`model` for images of this `size`, and the tokens that enter its first block."""
    if size == model.image_size:
        return model, model.embed(images, index)
    sized = model.resized(size)
    return sized, sized.embed(shrink(images, size), index)


def not_finite(logits: Tensor) -> str | None:
    """The reason to fail a cell whose logits are not numbers."""
    return None if bool(torch.isfinite(logits).all()) else "logits are not finite (NaN or infinity)"


def shrink(images: Tensor, size: int) -> Tensor:
    """Images, or clips frame by frame, at a smaller size: bicubic with antialiasing, as one made so small would be."""
    frames = images.transpose(1, 2).flatten(0, 1) if images.ndim == 5 else images
    small = F.interpolate(
        frames, size=(size, size), mode="bicubic", antialias=True, align_corners=False
    )
    return small.unflatten(0, (len(images), -1)).transpose(1, 2) if images.ndim == 5 else small


def place_specials(masks: Tensor, places: Sequence[int]) -> Tensor:
    """Masks over patches (B, P) as masks over the whole sequence (B, P + S), False at the special tokens."""
    full = torch.zeros(masks.shape[0], masks.shape[1] + len(places), dtype=torch.bool)
    is_patch = torch.ones(full.shape[1], dtype=torch.bool)
    is_patch[list(places)] = False
    full[:, is_patch] = masks
    return full

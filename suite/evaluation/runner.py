"""Evaluate cells on a shard of images: a loop over batches, and in it one over cells."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
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
from methods.parts.view import View, cropped, leading
from suite.data.base import Dataset, Seen
from suite.data.loading.loader import Batch, batches
from suite.evaluation.adaptive import Adaptive, GroupObserver, evaluate_adaptive
from suite.evaluation.groups import Group
from suite.evaluation.outcomes import REMOVED, Rows
from suite.evaluation.tasks import EVALUATIONS, Answers
from suite.evaluation.token_counts import TokenCounts, TokenSums
from suite.evaluation.token_order import OrderTracker
from suite.evaluation.tree import Failure, Job, failures, jobs_for
from suite.evaluation.tree import evaluate as evaluate  # replaced where nothing is to be shared
from suite.evaluation.views import split_views, views_in
from suite.plan.cells import Cell
from suite.plan.prepare import Prepared
from suite.store.results import tracked_subset
from suite.system.hardware import set_products
from suite.system.stopwatch import STOPWATCH

Progress = Callable[[int], None]


@dataclass(frozen=True)
class ShardResult:
    """Results of one shard, by key of the cell.

    ``outcomes``  a row an image (`suite.store.schema.Task.outcomes`), of cells that succeeded
    ``tokens``    their token counts (`suite.evaluation.token_counts.TokenCounts.frame`)
    ``failures``  the reasons of the cells that failed
    ``halved``    if memory ran out: the batch that fit, and how predictions differ with it
    ``seen``      by number, what images in files were decoded from
    ``damaged``   by number, what is wrong with images that could not be, and have no outcomes
    """

    outcomes: dict[str, pd.DataFrame]
    tokens: dict[str, pd.DataFrame]
    failures: dict[str, str]
    halved: dict[str, int] | None = None
    seen: dict[int, Seen] = field(default_factory=dict)
    damaged: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BatchResult:
    """Results of one batch of B samples, by key of the cell.

    Kendall's ``tau`` (B,) is that of the cells that succeeded; ``removed`` (B, sites) are the
    tokens that left each sample under those of adaptive counts.
    """

    tau: dict[str, Tensor]
    counts: TokenCounts
    failures: dict[str, str]
    removed: dict[str, Tensor]


def evaluate_shard(
    prepared: Prepared,
    backbone: str,
    images: NDArray[np.int64],
    cells: Sequence[Cell],
    batch_size: int,
    progress: Progress,
) -> ShardResult:
    """Evaluate `cells` of `backbone` on `images`, `batch_size` of them at a time.

    `images` are numbers in the data set; every image or video is decoded once. `progress` receives
    the number of outcomes, one image under one cell each, as they are done.
    """
    # A worker process, or a training before, may have set otherwise.
    set_products(prepared.spec.precision)
    model = prepared.models[backbone]
    dense = prepared.dense[backbone]
    data = prepared.data[backbone]
    views = data.views
    tracked = tracked_subset(prepared.chosen) * views  # of an item its first view
    # Every cell is compared with the dense model, which thus runs even if its results are on disk.
    running = {cell.key: cell for cell in (dense, *cells)}
    rows: dict[str, list[Rows]] = {cell.key: [] for cell in cells}
    reasons: dict[str, str] = {}
    counts = TokenSums()
    seen: dict[int, Seen] = {}
    damaged: dict[int, str] = {}
    # Where only some images of a shard are evaluated again, others may not follow.
    whole = any(np.array_equal(images, shard) for shard in prepared.shards)
    run = prepared.indices if whole else images
    loader = shard_batches(data, run, model, images, batch_size)
    with torch.inference_mode(), closing(loader):
        for batch in loader:
            seen |= batch.seen
            damaged |= batch.damaged
            if not len(batch.indices):
                continue
            # 1. Run all cells on the batch, which is cut if its items have many views.
            counted = 0

            def one_by_one(key: str, outcomes: int) -> None:
                nonlocal counted
                if key in rows:
                    counted += outcomes
                    progress(outcomes)

            parts: list[BatchResult] = []
            answers = EVALUATIONS[model.task].answers(batch, dense.key)
            with STOPWATCH.part("model"):
                for samples in split_views(batch, views, batch_size):
                    kept = np.isin(samples.indices.numpy(), tracked)
                    part = evaluate_batch(
                        model,
                        samples,
                        list(running.values()),
                        dense.key,
                        answers,
                        kept,
                        prepared.device,
                        one_by_one if views == 1 else lambda *_: None,
                    )
                    parts.append(part)
                    counts.add(part.counts)
                    for key, reason in part.failures.items():
                        reasons[key] = reason
                        del running[key]
            # 2. Compare the cells that have not failed with the dense model.
            with STOPWATCH.part("outcomes"):
                keys = [key for key in rows if key in running]
                counted_views = views_in(batch)
                tau = {key: mean_tau(key, parts, counted_views) for key in keys}
                for key, own in answers.outcomes(keys, tau).items():
                    rows[key].append(own | removed_tokens(key, parts, counted_views))
            progress(len(batch.indices) * len(cells) - counted)
    # 3. Join what the cells that never failed gave; a failed one leaves no part of its results.
    frames, tokens = {}, {}
    for key in rows:
        # Without rows all images are damaged.
        if key in running and rows[key]:
            frames[key] = concatenate(rows[key])
            tokens[key] = counts.frame(key)
    return ShardResult(frames, tokens, reasons, seen=seen, damaged=damaged)


def shard_batches(
    data: Dataset,
    run: NDArray[np.int64],
    model: Backbone,
    images: NDArray[np.int64],
    batch_size: int,
) -> Generator[Batch, None, None]:
    """Load `images` of those of the `run`, with masks of the object over the model's patches."""
    side = model.describe().side
    # A mask is of one image, not of a clip, and needs a square grid of patches.
    grid = (side, side) if side and model.frames == 1 else None
    items = max(1, batch_size // round(data.mean_views(images, model.image_size)))
    if data.inference == "whole":
        items = 1  # of another size each
    # The loader prepares the first batches of the next shard while this one ends.
    end = np.searchsorted(run, images[-1], side="right")
    return batches(
        data,
        images,
        items,
        model.image_size,
        grid,
        following=run[end:],
    )


def mean_tau(key: str, parts: Sequence[BatchResult], views: Sequence[int]) -> Tensor:
    """Kendall's tau (B,) of a cell, mean over the `views` of each item."""
    tau = torch.cat([part.tau[key] for part in parts])
    return torch.stack([of_item.mean() for of_item in tau.split(list(views))])


def removed_tokens(key: str, parts: Sequence[BatchResult], views: Sequence[int]) -> Rows:
    """The column `REMOVED` of a cell of adaptive counts; none of another.

    Of each item it has the tokens that left its `views`, site by site, view by view.
    """
    if key not in parts[0].removed:
        return {}
    removed = torch.cat([part.removed[key] for part in parts])
    column = np.empty(len(views), np.object_)
    for item, of_item in enumerate(removed.split(list(views))):
        column[item] = of_item.flatten().numpy().astype(np.int32)
    return {REMOVED: column}


def concatenate(rows: Sequence[Rows]) -> pd.DataFrame:
    """Join the outcomes of one cell, batch by batch, to one table."""
    columns: dict[str, Any] = {}
    for name in rows[0]:
        values = np.concatenate([part[name] for part in rows])
        columns[name] = list(values) if values.ndim > 1 else values
    return pd.DataFrame(columns)


def evaluate_batch(
    model: Backbone,
    batch: Batch,
    cells: Sequence[Cell],
    dense: str,
    answers: Answers,
    tracked: NDArray[np.bool_],
    device: str,
    done: Callable[[str, int], None] = lambda key, samples: None,
) -> BatchResult:
    """Evaluate `cells` on one batch of samples; failures of cells are returned, not raised.

    `answers` take the logits of each that succeeds. If the cell `dense` fails, which is the first
    and which all are compared with, all do. Surviving tokens are kept one by one for the samples
    `tracked` (B,). `done` receives the key of each cell that ended, and the number of samples.
    """
    # Moved in parts: all views of a batch may be more than a GPU has room for.
    images = batch.images.to(device)
    halvings = model.describe().halvings
    # Tokens of a whole picture have other positions than those of the next, and are not counted.
    counted = batch.layouts is None
    if not counted:
        model = model.on_rectangle(*images.shape[-2:])
    counts = TokenCounts(token_masks(model, batch.foreground), tracked, halvings, device)
    order = OrderTracker()
    succeeded: list[str] = []
    removed: dict[str, Tensor] = {}
    reasons: dict[str, str] = {}
    finite: dict[str, Tensor] = {}

    def observe(keys: Sequence[str], site: int, tokens: TokenSequence) -> None:
        with STOPWATCH.part("tokens"):
            if counted:
                counts.observe(keys, site, tokens)
            order.observe(keys, site, tokens)

    def settle(key: str, answer: Tensor | Failure) -> None:
        if isinstance(answer, Failure):
            reasons[key] = answer.reason
        else:
            finite[key] = torch.isfinite(answer).all()
            # Where only outcomes are kept of an answer, it is looked at now, which waits for a GPU.
            if answers.keeps_logits or bool(finite[key]):
                answers.add(key, answer)
                succeeded.append(key)
        done(key, len(images))

    # Cells on a smaller image, or a window of it, have another embedding, and share no prefix.
    by_image: dict[tuple[int, View | None], list[Cell]] = {}
    for cell in cells:
        by_image.setdefault((cell.image_size, cell.view), []).append(cell)
    for (size, view), members in by_image.items():
        try:
            sized, tokens = embed(model, images, batch.indices, size, view)
        except UserError:
            raise
        except Exception as error:  # a third party's embedding may raise anything
            jobs = [Job(cell.key, {}) for cell in members]
            for job, failure in failures(error, jobs, lambda _: "before block 0", len(images)):
                reasons[job.key] = failure.reason
            continue
        # a smaller image, or a window, has other positions, which are not counted
        if counted and sized is model and view is None:
            counts.observe([cell.key for cell in members], 0, tokens)
        jobs = jobs_for(members, sized, batch.indices, batch.labels)
        for job, answer in evaluate(sized, tokens, jobs, observe):
            settle(job.key, answer)
        for cell in members:
            if cell.adaptive:
                watch = group_observer(cell.key, counts, order)
                found = evaluate_adaptive(sized, tokens, cell.key, cell.steps(), watch)
                if isinstance(found, Adaptive):
                    removed[cell.key] = found.removed
                    settle(cell.key, found.logits)
                else:
                    settle(cell.key, found)
    # The host waits for a GPU here, once for all cells.
    with STOPWATCH.part("tokens"):
        reasons |= counts.settle()
    for key, sound in zip(finite, all_of(finite.values()), strict=True):
        if not sound:
            reasons.setdefault(key, "logits are not finite (NaN or infinity)")
    succeeded = [key for key in succeeded if key not in reasons]
    if dense in reasons:
        reason = f"the dense model failed: {reasons[dense]}"
        for cell in cells:
            reasons.setdefault(cell.key, reason)
        succeeded = []
    tau = {key: order.mean_tau(key, len(images)) for key in succeeded}
    return BatchResult(tau, counts, reasons, removed)


def all_of(flags: Collection[Tensor]) -> list[bool]:
    """The values of flags on one device, fetched at once."""
    return torch.stack([*flags]).tolist() if flags else []


def group_observer(key: str, counts: TokenCounts, order: OrderTracker) -> GroupObserver:
    """What counts the tokens of a cell of adaptive counts, and their order, at every site."""

    def observe(site: int, groups: Sequence[Group]) -> None:
        with STOPWATCH.part("tokens"):
            counts.observe_groups([key], site, groups)
            order.observe_groups(key, groups)

    return observe


def embed(
    model: Backbone,
    images: Tensor,
    index: Tensor | None,
    size: int,
    view: View | None = None,
) -> tuple[Backbone, TokenSequence]:
    """Return `model` for images of this `size`, and the tokens that enter its first block.

    Of whole pictures the short side becomes as long.

    `index` (B,) are the numbers of the images. Of a `view` the tokens are those of its window.
    """
    if view is not None:
        sized = model if size == model.image_size else model.resized(size)
        return sized, leading(sized.embed(seen(images, index, size, view), index), view.patches)
    if size == model.image_size:
        return model, model.embed(images, index)
    if model.picture is None:
        resized = model.resized(size)
        return resized, resized.embed(shrink(images, size), index)
    # Of a whole picture as small a share of rows and columns.
    share = size / model.image_size
    sides = [model.image_size_for(max(1, round(places * share))) for places in model.patch_grid]
    resized = model.on_rectangle(sides[0], sides[1])
    return resized, resized.embed(shrink(images, sides), index)


def seen(images: Tensor, index: Tensor | None, size: int, view: View) -> Tensor:
    """The window that `view` has of images, or clips, made `size` pixels wide."""
    numbers = torch.arange(len(images), device=images.device) if index is None else index
    return shrink(cropped(images, numbers, view), size)


def shrink(images: Tensor, size: int | Sequence[int]) -> Tensor:
    """Resize images (B, 3, S, S), or clips (B, 3, T, S, S) frame by frame, by bicubic filtering.

    `size` is that of a square, or height and width.

    With antialiasing, so that the result is what a smaller file of the same image would show.
    """
    if images.ndim == 5:
        # PyTorch's bicubic filter takes no clips, so each frame is an image of its own.
        frames = shrink(images.transpose(1, 2).flatten(0, 1), size)
        return frames.unflatten(0, (len(images), -1)).transpose(1, 2)
    sides = [size, size] if isinstance(size, int) else list(size)
    return F.interpolate(images, size=sides, mode="bicubic", antialias=True, align_corners=False)


def token_masks(model: Backbone, foreground: Tensor | None) -> Tensor | None:
    """Turn object masks (B, rows, columns) into masks over the sequence (B, L0), None if None."""
    if foreground is None:
        return None
    return place_specials(foreground.flatten(1), model.special_places)


def place_specials(masks: Tensor, places: Sequence[int]) -> Tensor:
    """Insert False for special tokens at `places` into masks over patches (B, P): (B, P + S)."""
    full = torch.zeros(masks.shape[0], masks.shape[1] + len(places), dtype=torch.bool)
    is_patch = torch.ones(full.shape[1], dtype=torch.bool)
    is_patch[list(places)] = False
    full[:, is_patch] = masks
    return full

"""One comparison from settings to results on disk; the report is drawn from those alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from backbones.base import Backbone
from suite.analysis.ablation import write_ablation
from suite.analysis.first_errors import breaks_frame, broken_first
from suite.analysis.gallery import gallery, pictures
from suite.analysis.kept_tokens import foreground_frame, kept_frame, reduced
from suite.analysis.mamba_vs_attention import family, family_frames
from suite.analysis.published_accuracy import expected
from suite.analysis.similarity import Kept, similarity_frames
from suite.analysis.statistics import asked_for, summarise
from suite.config.run_spec import RunSpec
from suite.data import pictured
from suite.data.loading.loader import dismiss
from suite.evaluation.outcomes import accuracy, metrics
from suite.evaluation.token_counts import tracked_subset
from suite.execution.choose import Executor
from suite.execution.local import execute
from suite.execution.provenance import dataset_record, execution_record, run_size
from suite.execution.shards import count_existing
from suite.plan.cells import Cell, Named
from suite.plan.prepare import Prepared, out_of_reach, prepare
from suite.plan.records import describe
from suite.stats import Mark
from suite.store.run_folder import Store, slices
from suite.store.session import session
from suite.system.environment import environment, resource_usage
from suite.system.out_of_memory import with_smaller_batch
from suite.system.stopwatch import STOPWATCH
from suite.terminal.progress import print_start, progress_bar

JUDGED = ("image", "label_true", "prediction", "kl")


@dataclass(frozen=True)
class Result:
    """A finished comparison: the records of its cells, its headline, what failed, and who beats a blind choice."""

    records: list[dict[str, Any]]
    headline: dict[str, Any]
    failures: dict[str, str]
    marks: list[Mark]

    def summary(self) -> dict[str, Any]:
        """All of it, JSON-able; ``against_blind`` has a row for each backbone and budget."""
        marks = [mark.record() for mark in self.marks]
        return {
            "cells": self.records,
            "headline": self.headline,
            "against_blind": marks,
            "failures": self.failures,
        }


def run_comparison(
    spec: RunSpec,
    folder: Path,
    quiet: bool = False,
    resume: bool = True,
    fail_fast: bool = False,
    executor: Executor = execute,
) -> Result:
    """Run or continue the comparison in `folder`; UserError before anything ran if it cannot begin.

    StoppedError at the first cell that fails if `fail_fast`, and if the device is lost.
    """
    started = datetime.now(UTC)
    STOPWATCH.reset()
    prepared = prepare(spec)
    with session(folder, spec, resume, again=fail_fast) as store:
        existing = count_existing(prepared, store)
        print_start(folder, run_size(prepared), [existing], quiet)
        with progress_bar(existing[1], quiet) as progress:
            failures = executor(prepared, store, progress, fail_fast)
        return conclude(prepared, store, failures, started)


def conclude(
    prepared: Prepared, store: Store, failures: dict[str, str], started: datetime
) -> Result:
    """Records, analyses and headline of the cells whose shards are all there, or that failed."""
    spec = prepared.spec
    dismiss()
    with STOPWATCH.part("records"):
        records = write_cells(prepared, store, failures)
    with STOPWATCH.part("analyses"):
        write_analyses(prepared, store, failures)
    known = {
        name: expected(name, model, prepared.dataset) for name, model in prepared.models.items()
    }
    published = {name: row for name, row in known.items() if row is not None}
    count = len(slices(prepared.indices, spec.shard_size))
    classes = len(prepared.dataset.classes)
    with STOPWATCH.part("statistics"):
        headline, marks = summarise(
            records, spec, asked_for(spec), store, count, classes, published
        )
        kinds = {name: family(model) for name, model in prepared.models.items()}
        for name, frame in family_frames(kinds, records, store, count).items():
            store.write_analysis(name, frame)
    if doubts := [doubt for doubt in (flipped(store), *out_of_reach(prepared)) if doubt]:
        headline |= {name: [*doubts, *headline[name]] for name in ("warnings", "paragraphs")}
        store.write_headline(headline)
    if spec.axes:
        first, *others = write_ablation(records, spec, store, count)
        headline |= {"headline": first, "paragraphs": [*headline["warnings"], *others]}
        store.write_headline(headline)
    store.write_dataset(dataset_record(prepared))
    store.write_environment(
        environment() | resource_usage(started) | execution_record(prepared, store)
    )
    return Result(records, headline, failures, marks)


def flipped(store: Store) -> str:
    """A warning if a smaller batch than asked for changes predictions."""
    flips, compared = (
        sum(row.get(name, 0) for row in store.halved()) for name in ("flips", "compared")
    )
    if not flips:
        return ""
    return (
        f"Memory ran out, so slices were done with a smaller batch, and {flips:,} of {compared:,} predictions that "
        f"were made with two batches differ: lower --batch-size to one that fits throughout."
    )


def write_cells(prepared: Prepared, store: Store, failures: dict[str, str]) -> list[dict[str, Any]]:
    """Metrics of every cell from its shards, written and returned in the order of the run."""
    count = len(slices(prepared.indices, prepared.spec.shard_size))
    records = []
    dense_top1: dict[str, float] = {}
    for cell in prepared.cells:
        record = describe(cell, prepared.spec, len(prepared.indices))
        store.keep_only(cell.key, count)
        if cell.key in failures:
            record |= {"status": "failed", "reason": failures[cell.key]}
        elif cell.plan is not None:
            frame = store.outcomes(cell.key, count)
            top1 = dense_top1.setdefault(
                cell.backbone, accuracy(frame)
            )  # the dense cell comes first
            record |= {"status": "ok", "metrics": metrics(frame, top1)}
        store.write_cell(cell.key, record)
        records.append(record)
    store.forget_cells_but(record["key"] for record in records)
    return records


def write_analyses(prepared: Prepared, store: Store, failures: dict[str, str]) -> None:
    """Kept-token maps, share of foreground kept, overlap of the kept sets, and the gallery."""
    done = [cell for cell in prepared.cells if cell.plan is not None and cell.key not in failures]
    store.write_analysis("kept_tokens", kept_frame(prepared, store, done))
    store.write_analysis("foreground", foreground_frame(prepared, store, done))
    for name, frame in _alike(prepared, store, done).items():
        store.write_analysis(name, frame)
    write_gallery(prepared, store, done)


def _alike(prepared: Prepared, store: Store, cells: Sequence[Cell]) -> dict[str, pd.DataFrame]:
    """How alike the cells choose and answer (see `suite.analysis.similarity`)."""
    parts = slices(prepared.indices, prepared.spec.shard_size)
    counts = [len(np.intersect1d(part, tracked_subset(prepared.indices))) for part in parts]

    def kept(cell: Named) -> dict[int, Kept]:
        special = list(prepared.models[cell.backbone].special_places)
        return {
            block: np.delete(found, special, axis=1)
            for block, found in store.alive(cell.key, counts).items()
        }

    def right(cell: Named) -> Kept:
        return store.answers(cell.key, len(parts))[1]

    return similarity_frames(reduced(cells), kept, right)


def write_gallery(prepared: Prepared, store: Store, cells: Sequence[Cell]) -> None:
    """What becomes of the tokens of the images that were asked for, and of those that methods break first."""
    count = len(slices(prepared.indices, prepared.spec.shard_size))
    dense = {name: prepared.dense(name).key for name in prepared.models}
    breaks = breaks_frame(dense, reduced(cells), lambda key: store.outcomes(key, count, JUDGED))
    store.write_analysis("first_errors", breaks)
    wanted = prepared.spec.gallery
    chosen = pictured(prepared.indices, wanted)
    if not chosen:
        return
    asked = [cell.label for cell in cells if cell.method.method.family != "baseline"]
    first = broken_first(breaks, asked)
    why = first | dict.fromkeys(chosen, "drawn at random" if isinstance(wanted, int) else "chosen")
    index = torch.tensor([*chosen, *(image for image in first if image not in chosen)])
    labels = torch.from_numpy(prepared.dataset.labels[index.numpy()])
    frames = []
    for name, model in prepared.models.items():
        samples = prepared.data_for(model).once().samples(index.numpy(), model.image_size)
        images = torch.from_numpy(samples).to(prepared.device)
        members = [cell for cell in cells if cell.backbone == name and cell.seed == 0]
        frames.append(
            pictured_in_parts(model, images, index, labels, members) if members else pd.DataFrame()
        )
    store.write_analysis("gallery", pd.concat(frames, ignore_index=True))
    largest = max(prepared.models.values(), key=lambda model: model.image_size)
    store.write_analysis(
        "images", pictures(prepared.data_for(largest), index, largest.image_size, why)
    )


def pictured_in_parts(
    model: Backbone, images: Tensor, index: Tensor, labels: Tensor, cells: Sequence[Cell]
) -> pd.DataFrame:
    """`gallery`, of fewer images at once where memory runs out; its rows are in the same order."""

    def of_parts(size: int) -> pd.DataFrame:
        parts = zip(images.split(size), index.split(size), labels.split(size), strict=True)
        return pd.concat([gallery(model, *part, cells) for part in parts], ignore_index=True)

    found, _ = with_smaller_batch(len(index), of_parts, f"the gallery of {model.name}")
    if found.empty:
        return found
    group = found.groupby(["label", "budget", "seed", "block"], sort=False, dropna=False).ngroup()
    return found.iloc[group.argsort(kind="stable")].reset_index(drop=True)

"""Layer curves: every method reducing before one block only, as cells of the engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from backbones.base import Backbone
from backbones.common.errors import UserError
from methods.spec import MethodSpec
from suite.analysis.kept_tokens import patch_counts
from suite.plan.budget import dense_plan, plan_of
from suite.plan.cells import DENSE, Cell
from suite.plan.prepare import Prepared, merge_equal, unfit
from suite.stats.means import mean_over_images
from suite.store.run_folder import Store, slices


@dataclass(frozen=True)
class OneSite:
    """What each method does before one block alone: remove `group` tokens before each of `layers`, from 1 on."""

    methods: Sequence[MethodSpec]
    layers: Sequence[int]
    group: int
    seed: int

    def cells(self, name: str, model: Backbone, context: str) -> list[Cell]:
        """The dense cell and those of every method and layer.

        A method that the backbone or its own cap rules out is a cell without a plan. UserError for
        one that reduces no token sequence, or brings a schedule of its own.
        """
        for method in self.methods:
            if method.method.kind != "sequence" or method.schedule:
                raise UserError(
                    f"'{method}' cannot act before one block alone: name methods that reduce the token sequence, no '@'"
                )
        return merge_equal(self._cells(name, model, context))

    def _cells(self, name: str, model: Backbone, context: str) -> Iterator[Cell]:
        shape = model.describe()
        blank = Cell(name, DENSE, None, 0, None, None, model.image_size, context)
        yield replace(blank, plan=dense_plan(shape))
        for method in self.methods:
            composition = method.composition(model.provides)
            assert composition is not None
            blank = replace(blank, method=method, composition=composition, seed=self.seed)
            if reason := unfit(composition, model):
                yield replace(blank, reason=reason)
                continue
            try:
                plans = [
                    plan_of(shape, {layer: self.group}, composition)
                    for layer in self.layers
                    if layer
                ]
            except ValueError as error:
                yield replace(blank, reason=str(error))
                continue
            yield from (replace(blank, plan=plan) for plan in plans)


def finished(prepared: Prepared, failures: Mapping[str, str]) -> list[tuple[Cell, int]]:
    """The cells that were evaluated, dense left out, each with the block before which it reduces."""
    return [
        (cell, next(iter(cell.plan.counts)))
        for cell in prepared.cells
        if cell.plan is not None and cell.plan.counts and cell.key not in failures
    ]


def curves_frame(prepared: Prepared, store: Store, failures: Mapping[str, str]) -> pd.DataFrame:
    """By method and block: the mean change of loss, margin and accuracy, the flip rate and KL, with intervals."""
    count = len(slices(prepared.indices, prepared.spec.shard))
    name = prepared.spec.backbones[0]
    dense = store.outcomes(prepared.dense(name).key, count)
    rows = []
    for cell, block in finished(prepared, failures):
        found = store.outcomes(cell.key, count)
        changes = {
            "loss": found.loss - dense.loss,
            "margin": found.margin - dense.margin,
            "flip": ~found.agree,
            "kl": found.kl,
            "top1": (found.prediction == found.label).astype(float)
            - (dense.prediction == dense.label),
        }
        for quantity, values in changes.items():
            mean = mean_over_images(values.to_numpy(np.float64))
            rows.append(
                {
                    "backbone": name,
                    "label": cell.label,
                    "block": block,
                    "quantity": quantity,
                    "mean": float(mean.mean),
                    "low": float(mean.low),
                    "high": float(mean.high),
                    "images": int(mean.images),
                    "removed": cell.plan.counts[block] if cell.plan else 0,
                }
            )
    columns = ["backbone", "label", "block", "quantity", "mean", "low", "high", "images", "removed"]
    return pd.DataFrame(rows, columns=columns)


def kept_frame(prepared: Prepared, store: Store, failures: Mapping[str, str]) -> pd.DataFrame:
    """By method and block: the share of images in which the token of each grid place is still there."""
    frames = []
    for cell, block in finished(prepared, failures):
        counts = patch_counts(prepared, store, cell)
        present = (
            counts[counts.block == block]
            .groupby(["block", "row", "col"], as_index=False)["present"]
            .mean()
        )
        kept = present.present / prepared.samples  # of a clip: the mean over its frames
        frames.append(
            present.drop(columns="present").assign(
                backbone=cell.backbone, label=cell.label, kept=kept
            )
        )
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def skipped_frame(prepared: Prepared, failures: Mapping[str, str]) -> pd.DataFrame:
    """Methods that have no curve, or only part of one, and why."""
    reasons = [
        (cell.backbone, cell.label, cell.reason or failures.get(cell.key))
        for cell in prepared.cells
        if cell.reason or cell.key in failures
    ]
    return pd.DataFrame(reasons, columns=["backbone", "label", "reason"]).drop_duplicates()

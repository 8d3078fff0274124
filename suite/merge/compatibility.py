"""Whether runs may be in one report: what must be equal, and which differences are noted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from backbones.common.errors import UserError
from suite.merge.finished_run import FinishedRun
from suite.sensitivity.spec import SensitivitySpec

Read = Callable[[FinishedRun], Any]
# A figure depends on these: a difference between two cells would be theirs, not the methods'.
MUST_AGREE: dict[str, Read] = {
    "the data set": lambda run: run.dataset.get("name"),
    "the split": lambda run: run.dataset.get("split"),
    "the views of a video": lambda run: run.dataset.get("views"),
    "the data's hash": lambda run: run.dataset.get("hash"),
    "the number of images": lambda run: run.dataset.get("images"),
    "the protocol": lambda run: run.comparison.protocol,
    "the FLOPs convention": lambda run: run.comparison.flops_convention,
    "the precision": lambda run: run.comparison.precision,
    "the device": lambda run: run.environment.get("device"),
}
# On a GPU the size of a batch and TF32 change results.
MUST_AGREE_ON_CUDA: dict[str, Read] = {
    "the batch": lambda run: run.comparison.batch_size,
    "the precision of products (TF32)": lambda run: run.environment.get("matmul_precision"),
}
BY_BACKBONE = ("weights", "preprocessing")
NOTED = {"suite": "the suite", "git": "the code's commit", "torch": "PyTorch"}
# Settings that say which cells there are, and change none.
WHICH_CELLS = {
    "methods",
    "budgets",
    "axes",
    "gallery",
    "baselines",
    "shard",
    "seeds",
    "backbones",
}


def refuse_different(runs: Sequence[FinishedRun]) -> None:
    """UserError with the first reason why `runs` cannot be one report."""
    compared = [run for run in runs if run.compares]
    for run in compared[1:]:
        for what, read in (MUST_AGREE | (MUST_AGREE_ON_CUDA if run.on_cuda else {})).items():
            _refuse_unless_equal(what, compared[0], read(compared[0]), run, read(run))
    first: dict[tuple[str, str], tuple[FinishedRun, Any]] = {}
    analysed: dict[str, FinishedRun] = {}
    for run in runs:
        for what in BY_BACKBONE:
            for backbone, value in (run.environment.get(what) or {}).items():
                other, expected = first.setdefault((what, backbone), (run, value))
                _refuse_unless_equal(f"{what} of {backbone}", other, expected, run, value)
        if isinstance(run.spec, SensitivitySpec):
            other = analysed.setdefault(run.spec.backbone, run)
            if other is not run:
                raise UserError(
                    f"'{other.name}' and '{run.name}' are both sensitivity analyses of "
                    f"{run.spec.backbone}: report them apart"
                )
    # Of a measurement of speed no data are named.
    with_data = [run for run in runs if hasattr(run.spec, "data")]
    for run in with_data[1:]:
        one, two = (getattr(each.spec, "data", None) for each in (with_data[0], run))
        _refuse_unless_equal("the data set", with_data[0], one, run, two)


def _refuse_unless_equal(
    what: str, first: FinishedRun, one: Any, other: FinishedRun, two: Any
) -> None:
    if one != two:
        raise UserError(
            f"'{first.name}' and '{other.name}' cannot be one report: {what} is {_shown(one)} in "
            f"the first and {_shown(two)} in the second"
        )


def _shown(value: Any) -> str:
    return "unknown" if value is None else str(value)


def refuse_other_images(first: FinishedRun, run: FinishedRun) -> None:
    """UserError if two comparisons have different images, or different labels of them."""
    if not np.array_equal(first.images, run.images):
        shared = len(np.intersect1d(first.images, run.images))
        raise UserError(
            f"'{first.name}' and '{run.name}' cannot be one report: they saw different images "
            f"({shared} of {len(first.images)} are the same), so nothing in them can be paired"
        )
    labels = first.outcomes(first.dense).label_true
    if not labels.equals(run.outcomes(run.dense).label_true):
        raise UserError(
            f"'{first.name}' and '{run.name}' cannot be one report: their images bear different "
            "labels"
        )


def noted_differences(runs: Sequence[FinishedRun]) -> list[str]:
    """A sentence for each version that differs between the runs, which may be harmless."""
    sentences = []
    for field, what in NOTED.items():
        values = {run.name: str(run.environment.get(field)) for run in runs}
        if len(set(values.values())) > 1:
            listed = ", ".join(f"{value} in {name}" for name, value in values.items())
            sentences.append(f"{what[0].upper()}{what[1:]} differs: {listed}.")
    return sentences


def explain_difference(one: FinishedRun, other: FinishedRun) -> str:
    """Settings and circumstances in which two comparisons differ, as causes of another result."""
    mine, theirs = one.comparison.model_dump(), other.comparison.model_dump()
    causes = [name for name in mine if mine[name] != theirs[name] and name not in WHICH_CELLS]
    for field in ("kernel", "git", "suite", "torch"):
        differs = one.environment.get(field) != other.environment.get(field)
        if differs and field not in causes:
            causes.append(field)
    return ", ".join(causes) or "nothing that was recorded"

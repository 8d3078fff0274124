"""Whether runs may be in one report: what must be equal, and which differences are noted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from backbones.common.errors import UserError
from backbones.common.labels import data_name
from suite.merge.finished_run import FinishedRun
from suite.sensitivity.spec import SensitivitySpec
from suite.store.schema import SEGMENTATION

# What figures depend on: a difference between two cells would be of these, not of the methods.
OF_IMAGES = {
    "split": "the split",
    "views": "the views of a video",
    "hash": "the data's hash",
    "images": "the number of images",
}
OF_COMPARISON = {
    "protocol": "the protocol",
    "flops_convention": "the FLOPs convention",
    "precision": "the precision",
}
OF_BACKBONE = ("weights", "code", "preprocessing", "views", "work_of_item")
NOTED = {"suite": "The suite", "git": "The code's commit", "torch": "PyTorch"}


def refuse_different(runs: Sequence[FinishedRun]) -> None:
    """UserError with the first reason why `runs` cannot be one report."""
    known: dict[str, tuple[FinishedRun, Any]] = {}
    for run in runs:
        for what, value in facts(run).items():
            # Against the first run that has the fact: all others agree with it already.
            first, expected = known.setdefault(what, (run, value))
            if value != expected:
                refuse_changed(first, run)
                _refuse(first, run, f"{what} is {expected} in the first and {value} in the second")


def facts(run: FinishedRun) -> dict[str, Any]:
    """What every run of a report that has it must have the same of."""
    settings, environment = run.spec.model_dump(), run.environment
    facts: dict[str, Any] = {}
    if run.compares:
        facts["the task"] = settings["task"]
    if "data" in settings:
        # Without its path: the same files may lie elsewhere.
        facts["the data set"] = data_name(settings["data"])
    if run.compares:
        facts |= {what: run.dataset.get(name) for name, what in OF_IMAGES.items()}
        facts |= {what: settings[name] for name, what in OF_COMPARISON.items()}
        facts["the device"] = environment.get("device")
    # On a GPU the size of a batch and TF32 change results.
    if run.compares and run.on_cuda:
        facts["the batch"] = settings["batch_size"]
        facts["the precision of products (TF32)"] = environment.get("matmul_precision")
    for what in OF_BACKBONE:
        for backbone, value in (environment.get(what) or {}).items():
            facts[f"{what} of {backbone}"] = value
    if isinstance(run.spec, SensitivitySpec):
        facts[f"the sensitivity analysis of {run.spec.called}"] = run.name
    return facts


def refuse_changed(first: FinishedRun, run: FinishedRun) -> None:
    """UserError if images of one number are not the same bytes of the same class."""
    shared = sorted(first.held.keys() & run.held.keys())
    changed = [image for image in shared if first.held[image] != run.held[image]]
    if changed:
        _refuse(
            first,
            run,
            f"{len(changed):,} of {len(shared):,} images, such as number {changed[0]}, were "
            "another file or class in the second: run the first again on the present files",
        )


def refuse_other_images(first: FinishedRun, run: FinishedRun) -> None:
    """UserError if two comparisons have different images, or different labels of them."""
    if not np.array_equal(first.images, run.images):
        shared = len(np.intersect1d(first.images, run.images))
        _refuse(
            first,
            run,
            f"they saw different images ({shared} of {len(first.images)} are the same), so nothing "
            "in them can be paired",
        )
    # Pixels' classes are known by the bytes of files, or by the rules that drew them.
    if first.dense.task == SEGMENTATION.name:
        return
    labels = first.outcomes(first.dense).label_true
    if not labels.equals(run.outcomes(run.dense).label_true):
        _refuse(first, run, "their images have different labels")


def _refuse(first: FinishedRun, run: FinishedRun, why: str) -> None:
    raise UserError(f"'{first.name}' and '{run.name}' cannot be one report: {why}")


def noted_differences(runs: Sequence[FinishedRun]) -> list[str]:
    """A sentence for each version that differs between the runs, which may be harmless."""
    sentences = []
    for field, what in NOTED.items():
        # Runs of several versions are merged on purpose, as after a small fix.
        values = {run.name: str(run.environment.get(field)) for run in runs}
        if len(set(values.values())) > 1:
            listed = ", ".join(f"{value} in {name}" for name, value in values.items())
            sentences.append(f"{what} differs: {listed}.")
    return sentences

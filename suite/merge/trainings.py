"""Trainings of one name in several runs: in a merged report each has its run's name, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from backbones.common.naming import with_settings
from suite.merge.finished_run import BY_BACKBONE, FinishedRun
from suite.store.schema import CellRecord


def trainings_told_apart(runs: Sequence[FinishedRun]) -> list[FinishedRun]:
    """The runs, whose trainings have other names unless all of a name ended in the same weights."""
    first: dict[str, dict[str | None, str]] = {}
    for run in runs:
        for record in run.records:
            if record.retrained:
                # The first run that has these weights.
                first.setdefault(record.retrained.name, {}).setdefault(record.weights, run.name)
    ambiguous = {name: runs for name, runs in first.items() if len(runs) > 1}
    return [_renamed(run, ambiguous) if ambiguous else run for run in runs]


def _renamed(run: FinishedRun, ambiguous: Mapping[str, Mapping[str | None, str]]) -> FinishedRun:
    """The run, whose trainings of an `ambiguous` name have that of a run, by their weights."""
    records, trainings, backbones = [], {}, {}
    for record in run.records:
        trained = record.retrained
        if trained and trained.name in ambiguous:
            name = f"{ambiguous[trained.name][record.weights]}/{trained.name}"
            backbone = with_settings(trained.backbone, weights=f"{name}.safetensors")
            trainings[trained.name], backbones[record.backbone] = name, backbone
            record = _called(record, name, backbone)
        records.append(record)
    environment = dict(run.environment)
    for entry in BY_BACKBONE:
        if entry in environment:
            environment[entry] = _with_names(environment[entry] or {}, backbones)
    return replace(run, records=records, environment=environment, trainings=trainings)


def _called(record: CellRecord, name: str, backbone: str) -> CellRecord:
    """The cell under another name of its training and of its weights."""
    assert record.retrained is not None
    retrained = record.retrained.model_copy(update={"name": name})
    return record.model_copy(update={"retrained": retrained, "backbone": backbone})


def _with_names(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Values by backbone, under the names of backbones here."""
    return {names.get(backbone, backbone): value for backbone, value in values.items()}

"""The command that tunes methods for a comparison, and the comparison that uses the tries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from suite.config.command_line import command_line
from suite.config.run_spec import RunSpec
from suite.data import has_split
from suite.data.base import UNDIVIDED, Dataset

# Settings that both commands have, with the same defaults, and that decide what tries answer for.
SHARED = (
    "task",
    "backbones",
    "checkpoint",
    "data",
    "source",
    "budgets",
    "sites",
    "flops_convention",
    "precision",
)


def tune_command(spec: RunSpec, dataset: Dataset, methods: Sequence[str]) -> str:
    """The command that tunes `methods` for a comparison on `dataset`."""
    return command_line("tune", _settings(spec, dataset, methods, "dev"))


def compare_command(spec: RunSpec, dataset: Dataset, methods: Sequence[str], tries: Path) -> str:
    """The command that compares `methods` by the `tries` of a tuning on `dataset`."""
    settings = _settings(spec, dataset, methods, RunSpec.model_fields["split"].default)
    return command_line("compare", {**settings, "tries": tries})


def _settings(
    spec: RunSpec, dataset: Dataset, methods: Sequence[str], split: str
) -> dict[str, object]:
    """The methods, what is not at its default, and the split if the command's own is not there."""
    # Without any, those that the command takes by default.
    settings: dict[str, object] = {"methods": tuple(methods)} if methods else {}
    for name in SHARED:
        value = getattr(spec, name)
        # A rule that chooses sites is of one run's images: tries are made at numbers.
        if name == "sites" and isinstance(value, str):
            continue
        if value != RunSpec.model_fields[name].default:
            settings[name] = value
    # Where only one split is there, a comparison leaves out the images that picked the settings.
    task = dataset.task
    if dataset.split != UNDIVIDED and not has_split(spec.data, split, spec.source, task=task):
        settings["split"] = spec.split
    return settings

"""What trackers are told of a run: its settings, its figures of merit, its pictures, its files."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from backbones.common.documents import read_json, read_yaml
from suite.config.spec_file import SPEC
from suite.store.run_folder import Store
from suite.store.schema import CellRecord

PROJECT = "mamba-token-suite"


@dataclass(frozen=True)
class Content:
    """A finished run.

    ``settings``  the spec, nested as it is
    ``curves``    ``BACKBONE/METHOD/METRIC`` to values by percent of FLOPs removed (0: dense), seeds
                  averaged; nothing for an analysis without cells
    ``headline``  the finding in words
    ``figures``   PNG files by name
    ``files``     files and folders that are kept as they are: the spec, the environment, the report
    """

    folder: Path
    settings: dict[str, Any]
    curves: dict[str, dict[int, float]]
    headline: str
    figures: dict[str, Path]
    files: tuple[Path, ...]

    @property
    def name(self) -> str:
        """What the run is called."""
        # Resolved, since "." has no name.
        return self.folder.resolve().name

    def tracker_folder(self, tracker: str) -> Path:
        """The folder in which a tracker keeps this run."""
        return self.folder.resolve() / "track" / tracker


def read_content(folder: Path) -> Content:
    """The run in `folder`."""
    headline = folder / "analyses" / "headline.json"
    # Not the answers to single images: they are large, and the run folder has them.
    named = (SPEC, "environment.json", "dataset.json", "report")
    return Content(
        folder=folder,
        settings=read_yaml(folder / SPEC),
        curves=curves(Store(folder).cells()),
        headline=str(read_json(headline)["headline"]) if headline.exists() else "",
        figures={path.stem: path for path in sorted((folder / "report" / "figures").glob("*.png"))},
        files=tuple(folder / name for name in named if (folder / name).exists()),
    )


def curves(records: list[CellRecord]) -> dict[str, dict[int, float]]:
    """Return each metric by percent of FLOPs removed, averaged over seeds, and the true share."""
    seeds: dict[str, dict[int, list[float]]] = {}
    for record in records:
        if record.metrics is None or not record.shown:
            continue
        values = record.metrics.model_dump()
        values["removed"] = record.removed_share
        values[record.flops_convention] = record.total[record.flops_convention]
        # Trackers take whole steps; the exact share is a metric of its own, `removed`.
        step = round(100 * (record.budget or 0.0))
        for metric, value in values.items():
            steps = seeds.setdefault(tag(record.backbone, record.label, metric), {})
            steps.setdefault(step, []).append(float(value))
    return {
        name: {step: mean(values) for step, values in sorted(steps.items())}
        for name, steps in seeds.items()
    }


def tag(*parts: str) -> str:
    """A metric's name of characters that every tracker takes."""
    # Spelled methods have brackets, commas and spaces.
    return "/".join(re.sub(r"[^\w.-]+", "_", part).strip("_") for part in parts)


def flat(settings: dict[str, Any]) -> dict[str, str]:
    """The settings as texts."""
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in settings.items()
    }

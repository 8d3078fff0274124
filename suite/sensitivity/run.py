"""A sensitivity analysis from settings to tables on disk; a finished image is kept whatever happens after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from backbones.base import Backbone
from backbones.errors import UserError
from methods.spec import parse
from suite.comparison import about_execution, about_images
from suite.data import open_dataset, stratified
from suite.data.loader import Batch, batches
from suite.environment import consumption, environment
from suite.executors import execute
from suite.hardware import check_precision, pick_device, set_threads
from suite.prepare import Prepared, choose_images, context_of, load_model
from suite.progress import progress_bar
from suite.runner import runnable
from suite.sensitivity import curves, tables
from suite.sensitivity.choice import cells_of_grid, chosen
from suite.sensitivity.probe import Asked, Findings, Subject, probe, readable
from suite.sensitivity.spec import SensitivitySpec
from suite.sensitivity.summary import summarise
from suite.store import Store, is_whole, write_frame

PARTS = ("placements", "groups", "tokens")  # written in this order: an image is done when the last is there


@dataclass(frozen=True)
class Analysis:
    """What one run found: its tables by name, and what they say in words."""

    frames: dict[str, pd.DataFrame]
    headline: dict[str, Any]
    failures: dict[str, str]


def run_sensitivity(spec: SensitivitySpec, folder: Path, quiet: bool = False) -> Analysis:
    """Run or continue the analysis in `folder`; UserError before anything ran if it cannot begin."""
    started = datetime.now(UTC)
    prepared, asked, zeroed = prepare(spec)
    store = Store.open(folder, spec)
    (model,) = prepared.models.values()
    with progress_bar(len(runnable(prepared, spec.backbone)) * len(prepared.indices), quiet) as progress:
        failures = execute(prepared, store, progress)
    with progress_bar(len(prepared.indices), quiet, "image") as progress:
        probe_images(prepared, asked, zeroed, folder, progress)
    found = [read_image(folder, index) for index in prepared.indices.tolist()]
    frames = analyses(spec.backbone, model, found) | {
        "sensitivity_methods": curves.curves_frame(prepared, store, failures),
        "sensitivity_kept": curves.kept_frame(prepared, store, failures),
        "sensitivity_skipped": curves.skipped_frame(prepared, failures),
    }
    for name, frame in frames.items():
        store.write_analysis(name, frame)
    headline = summarise(spec, frames)
    store.write_headline(headline)
    store.write_dataset(about_images(prepared))
    store.write_environment(environment() | consumption(started) | about_execution(prepared))
    return Analysis(frames, headline, failures)


def prepare(spec: SensitivitySpec) -> tuple[Prepared, Asked, NDArray[np.int64]]:
    """Open model and data, lay out the cells and the probes; the third is the images whose tokens are zeroed too."""
    common = spec.run_spec()
    device = pick_device(common.device)
    dtype = check_precision(common.precision, device)
    threads = set_threads(common.threads)
    dataset = open_dataset(common.data, common.split, source=common.source).once()
    indices = choose_images(dataset, common)
    model = load_model(spec.backbone, common, dataset, device, dtype).requires_grad_(False)
    shape, grid = model.describe(), grid_of(model)
    layers = chosen(spec.layers, (0, *model.sites), "layers")
    group = max(1, round(spec.share * shape.patches))
    if group >= shape.patches:
        raise UserError(f"--share {spec.share} leaves none of {shape.patches} patch tokens: ask for less")
    one_site = curves.OneSite([parse(text) for text in common.methods], layers, group, spec.seed)
    context = context_of(model, dataset, indices, common, device)
    cells = one_site.cells(spec.backbone, model, context)
    asked = Asked(
        layers=layers,
        ranks=torch.tensor(cells_of_grid(spec.positions, grid)),
        group=group,
        places=places_of_class_token(model, shape.length, spec.places),
        scores=readable(model),
        seed=spec.seed,
        batch=spec.batch,
    )
    zeroed = stratified(dataset.labels, min(spec.zeroed, len(indices))) if spec.zeroed else indices[:0]
    prepared = Prepared(common, device, threads, {spec.backbone: model}, dataset, indices, cells)
    return prepared, asked, zeroed


def grid_of(model: Backbone) -> tuple[int, int, int]:
    """Frames, rows and columns of the patch tokens; UserError where they form no square."""
    shape = model.describe()
    if shape.side is None:
        raise UserError(f"the patches of {model.name} form no square: choose a backbone whose frames are square")
    return shape.frames, shape.side, shape.side


def places_of_class_token(model: Backbone, length: int, count: int) -> torch.Tensor:
    """`count` places spread evenly over the sequence, its ends and the class token's own among them.

    None where the backbone has not exactly one special token.
    """
    if len(model.special_places) != 1 or not count:
        return torch.empty(0, dtype=torch.long)
    spread = np.linspace(0, length - 1, count).round().astype(np.int64)
    return torch.from_numpy(np.union1d(spread, model.special_places))


def probe_images(
    prepared: Prepared,
    asked: Asked,
    zeroed: NDArray[np.int64],
    folder: Path,
    progress: Callable[[int], None],
) -> None:
    """Probe every image that is not on disk yet; `progress` is told of each."""
    (model,) = prepared.models.values()
    missing = np.array([index for index in prepared.indices.tolist() if not has_image(folder, index)], dtype=np.int64)
    progress(len(prepared.indices) - len(missing))
    frames, *side = grid_of(model)
    shown = (side[0], side[1]) if frames == 1 else None
    for batch in batches(prepared.data_for(model), missing, 1, model.image_size, shown):
        with torch.no_grad():
            findings = probe(model, subject_of(batch, prepared.device, zeroed), asked)
        for part in PARTS:
            write_frame(image_path(folder, int(batch.indices), part), getattr(findings, part))
        progress(1)


def subject_of(batch: Batch, device: str, zeroed: NDArray[np.int64]) -> Subject:
    """The one image of `batch` as something to probe."""
    return Subject(
        image=batch.images.to(device),
        index=batch.indices,
        label=batch.labels,
        foreground=None if batch.foreground is None else batch.foreground.flatten(),
        zeroing=bool(np.isin(batch.indices.numpy(), zeroed).all()),
    )


def image_path(folder: Path, index: int, part: str) -> Path:
    """Where what image `index` showed is kept."""
    return folder / "images" / f"{index:05d}" / f"{part}.parquet"


def has_image(folder: Path, index: int) -> bool:
    """Whether all of what image `index` showed is there and whole."""
    return all(is_whole(image_path(folder, index, part)) for part in PARTS)


def read_image(folder: Path, index: int) -> Findings:
    """What image `index` showed."""
    return Findings(**{part: pd.read_parquet(image_path(folder, index, part)) for part in PARTS})


def analyses(backbone: str, model: Backbone, found: Sequence[Findings]) -> dict[str, pd.DataFrame]:
    """The tables that follow from the images' findings, by name."""
    tokens = tables.Tokens.of(backbone, [each.tokens for each in found], grid_of(model), model.special_places)
    groups, placements = [each.groups for each in found], [each.placements for each in found]
    return {
        "sensitivity_map": tables.map_frame(tokens),
        "sensitivity_profile": tables.profile_frame(tokens),
        "sensitivity_agreement": tables.agreement_frame(tokens),
        "sensitivity_distance": tables.distance_frame(tokens),
        "sensitivity_scores": tables.score_frame(tokens),
        "sensitivity_groups": tables.effects_frame(backbone, groups, ["block", "ranking", "window"]),
        "sensitivity_placements": tables.effects_frame(backbone, placements, ["block", "place"]),
    }

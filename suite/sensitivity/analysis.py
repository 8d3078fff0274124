"""Run a sensitivity analysis from its settings to tables on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from backbones.base import Backbone
from backbones.common.errors import UserError
from suite.data import stratified
from suite.data.base import digest
from suite.execution.begin import begun
from suite.execution.local import execute
from suite.execution.provenance import dataset_record, execution_record
from suite.execution.shards import count_existing
from suite.plan.cells import needs_rectangle
from suite.plan.images import choose_images, choose_unseen
from suite.plan.loading import Opened, context_of
from suite.plan.notes import made_up_warning, notes_on_weights
from suite.plan.prepare import Prepared
from suite.sensitivity.headline import summarize_findings
from suite.sensitivity.image_probes import ProbeStore, probe_images, square_grid
from suite.sensitivity.pixel_tables import pixels_table, reach_table
from suite.sensitivity.probe import (
    ProbeSettings,
    ProbeTables,
    probes_per_image,
    readable_scores,
)
from suite.sensitivity.run_time import seconds_left
from suite.sensitivity.selection import select, select_patches
from suite.sensitivity.single_block import (
    kept_table,
    methods_table,
    single_block_cells,
    skipped_table,
)
from suite.sensitivity.spec import SensitivitySpec
from suite.sensitivity.token_tables import (
    TokenArrays,
    agreement_table,
    distance_table,
    effects_table,
    map_table,
    profile_table,
    score_table,
)
from suite.store.results import Results
from suite.store.schema import TASKS
from suite.system.durations import duration
from suite.system.environment import environment, resource_usage
from suite.system.hardware import check_precision, pick_device, set_products, set_threads
from suite.system.stopwatch import STOPWATCH
from suite.terminal.progress import print_start, progress_bar


@dataclass(frozen=True)
class Analysis:
    """Results of one run: its tables by name, its headline and the reasons of failed cells."""

    frames: dict[str, pd.DataFrame]
    headline: dict[str, Any]
    failures: dict[str, str]


def run_sensitivity(
    spec: SensitivitySpec,
    folder: Path,
    quiet: bool = False,
    resume: bool = True,
    fail_fast: bool = False,
    skip_damaged: bool = False,
) -> Analysis:
    """Run or resume the analysis in `folder`; finished images and shards are not computed again.

    Unless `quiet` it says beforehand about how long it takes.

    UserError, before anything is written, if it cannot begin. StoppedError at the first cell that
    fails if `fail_fast`, and if the device is lost.
    """
    started = datetime.now(UTC)
    STOPWATCH.reset()
    prepared, settings = prepare_analysis(spec)
    beginning = begun(prepared, spec, folder, resume, fail_fast, skip_damaged)
    with beginning as (prepared, store, recorded):
        images = prepared.indices.tolist()
        task = prepared.dataset.task
        probes = ProbeStore(store, probe_digest(prepared, recorded), prepared.seen, task)
        # Say where the results go and what an interrupted run has left.
        done, total = count_existing(prepared, store)
        missing = [index for index in images if not probes.exists(index)]
        probed = (
            len(images) - len(missing),
            len(images),
            f"{prepared.dataset.kind} with tokens removed",
        )
        existing = [(done, total, "outcomes"), probed]
        notes = [*notes_on_weights(prepared), *prepared.dataset.notes]
        if (missing or done < total) and not quiet:
            left = seconds_left(prepared, settings, 1 - done / max(total, 1), missing)
            notes.append(f"about {duration(left)} to go on this machine, kernels compiled")
        print_start(folder, prepared.size, existing, notes, quiet)
        # Methods reducing before one block run as cells, as in a comparison.
        with progress_bar(total, quiet) as progress:
            failures = execute(prepared, store, progress, fail_fast)
        images = prepared.indices.tolist()  # some may have turned out damaged
        (model,) = prepared.models.values()
        steps = len(images) * probes_per_image(model, settings)
        with progress_bar(steps, quiet, "probes") as progress:
            probe_images(prepared, settings, probes, progress)
        return conclude(prepared, spec, probes, failures, started)


def prepare_analysis(spec: SensitivitySpec) -> tuple[Prepared, ProbeSettings]:
    """Open model and data, lay out the cells, and settle what is probed of each image.

    UserError if the backbone, the data or the settings do not allow it.
    """
    common = spec.run_spec()
    device = pick_device(common.device)
    dtype = check_precision(common.precision, device)
    set_products(common.precision)
    threads = set_threads(common.threads)
    opened = Opened()
    # One view of each video: a probe is about one sequence of tokens.
    dataset = opened.dataset(common).once()
    usual: int = SensitivitySpec.model_fields["images"].default
    choose_images(dataset, common.images, usual)  # too few are said before a model is loaded
    model = opened.model(spec.backbone, common, device, dtype)
    indices, trained = choose_unseen(dataset, common.images, [model], usual)
    # Gradients are taken with respect to tokens only.
    model.requires_grad_(False)
    if needs_rectangle(model):
        raise UserError(
            f"{model.name} needs tokens that fill a rectangle, and without a single one they fill "
            "none: choose another backbone"
        )
    # Maps and distances need rows and columns.
    shape, grid = model.describe(), square_grid(model)
    layers = select(spec.layers, (0, *model.sites), "layers")
    group = max(1, round(spec.share * shape.patches))
    if group >= shape.patches:
        raise UserError(
            f"--share {spec.share} leaves none of {shape.patches} patch tokens: ask for less"
        )
    context = context_of(model, dataset, indices, common, device)
    cells = single_block_cells(spec, model, layers, group, context)
    # stratified() refuses a request for no images.
    zeroed = indices[:0]
    if spec.zeroed:
        count = min(spec.zeroed, len(indices))
        if trained:
            zeroed = indices[stratified(dataset.labels[indices], count)]
        else:
            zeroed = stratified(dataset.labels, count)
    settings = ProbeSettings(
        layers=layers,
        ranks=torch.tensor(select_patches(spec.positions, grid)),
        group=group,
        class_positions=class_positions(model, shape.length, spec.places),
        scores=readable_scores(model),
        seed=spec.seed,
        batch=spec.batch_size,
        zeroed=frozenset(zeroed.tolist()),
    )
    models = {spec.called: model}
    prepared = Prepared(
        common, device, threads, models, dataset, indices, cells, trained_on=trained
    )
    return prepared, settings


def class_positions(model: Backbone, length: int, count: int) -> torch.Tensor:
    """Spread `count` positions evenly over the sequence, and add the class token's own.

    Empty unless the backbone has exactly one special token, since several cannot move
    independently, and reads its answer from it: classes of pixels are read from the patches.
    """
    if len(model.special_places) != 1 or not count or model.task == "segmentation":
        return torch.empty(0, dtype=torch.long)
    spread = np.linspace(0, length - 1, count).round()
    positions = np.union1d(spread.astype(np.int64), model.special_places)
    return torch.from_numpy(positions)


def probe_digest(prepared: Prepared, spec: SensitivitySpec) -> str:
    """Hash everything that the results of an image depend on: settings, weights and data."""
    # The key of the dense cell covers weights, images and how numbers are computed.
    dense = prepared.dense[spec.called]
    return digest([spec.model_dump(mode="json"), dense.key])[:16]


def conclude(
    prepared: Prepared,
    spec: SensitivitySpec,
    probes: ProbeStore,
    failures: dict[str, str],
    started: datetime,
) -> Analysis:
    """Write tables, headline and environment once all images and cells are done."""
    (model,) = prepared.models.values()
    store = probes.store
    # All of them are on disk now, whichever process probed them.
    images = [probes.read(index) for index in prepared.indices.tolist()]
    frames = image_tables(spec.called, model, images)
    data = prepared.dataset
    results = Results(store, prepared.shards, TASKS[data.task], len(data.classes))
    frames["sensitivity_methods"] = methods_table(prepared, results, failures)
    frames["sensitivity_kept"] = kept_table(prepared, results, failures)
    frames["sensitivity_skipped"] = skipped_table(prepared, failures)
    parts = model.provenance.made_up if model.provenance else ()
    headline = summarize_findings(spec, frames, prepared.dataset.kind, parts)
    if made_up := made_up_warning(spec.called, parts):
        headline["warnings"].insert(0, made_up)
    if prepared.left_out:
        headline["warnings"].insert(0, f"{prepared.left_out_note}.")
    headline["paragraphs"] = [*headline["warnings"], *headline["paragraphs"]]
    for name, frame in frames.items():
        store.write_table(name, frame)
    store.write_headline(headline)
    store.write_dataset(dataset_record(prepared))
    usage = resource_usage(started)
    store.write_environment(environment() | usage | execution_record(prepared, store))
    return Analysis(frames, headline, failures)


def image_tables(
    backbone: str,
    model: Backbone,
    images: Sequence[ProbeTables],
) -> dict[str, pd.DataFrame]:
    """Compute the tables over `images`, by the name they are stored under."""
    tokens = [image.tokens for image in images]
    groups, placements = [image.groups for image in images], [image.placements for image in images]
    pixels = [image.pixels for image in images if image.pixels is not None]
    # A head that names pixels reads no class token: nothing is asked of how near one is.
    specials = () if model.task == "segmentation" else model.special_places
    arrays = TokenArrays.stack(backbone, tokens, square_grid(model), specials)
    frames = {
        "sensitivity_map": map_table(arrays),
        "sensitivity_profile": profile_table(arrays),
        "sensitivity_agreement": agreement_table(arrays),
        "sensitivity_distance": distance_table(arrays),
        "sensitivity_scores": score_table(arrays),
        "sensitivity_groups": effects_table(backbone, groups, ["block", "ranking", "window"]),
        "sensitivity_placements": effects_table(backbone, placements, ["block", "position"]),
    }
    if pixels:
        frames["sensitivity_pixels"] = pixels_table(backbone, pixels)
        frames["sensitivity_reach"] = reach_table(arrays, pixels)
    return frames

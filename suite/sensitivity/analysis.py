"""A sensitivity analysis from settings to tables on disk; a finished image is kept whatever happens after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from backbones.base import Backbone
from backbones.common.errors import UserError
from methods.spec import parse
from suite.data import open_dataset, stratified
from suite.data.base import digest
from suite.data.loading.loader import Batch, batches
from suite.execution.local import execute
from suite.execution.provenance import dataset_record, execution_record, run_size
from suite.execution.shards import count_existing, raise_first
from suite.plan.prepare import Prepared, choose_images, context_of, load_model
from suite.sensitivity import single_block, token_tables
from suite.sensitivity.headline import summarize_findings
from suite.sensitivity.probe import Asked, Findings, Subject, probe, readable
from suite.sensitivity.selection import select, select_patches
from suite.sensitivity.spec import SensitivitySpec
from suite.store.run_folder import Store
from suite.store.session import session
from suite.system.environment import consumption, environment
from suite.system.hardware import check_precision, pick_device, set_threads
from suite.system.out_of_memory import with_less
from suite.system.stopwatch import STOPWATCH
from suite.terminal.progress import announce, progress_bar

PARTS = ("placements", "groups", "tokens")


@dataclass(frozen=True)
class Analysis:
    """What one run found: its tables by name, and what they say in words."""

    frames: dict[str, pd.DataFrame]
    headline: dict[str, Any]
    failures: dict[str, str]


def run_sensitivity(
    spec: SensitivitySpec,
    folder: Path,
    quiet: bool = False,
    resume: bool = True,
    fail_fast: bool = False,
) -> Analysis:
    """Run or continue the analysis in `folder`; UserError before anything ran if it cannot begin.

    StoppedError at the first cell that fails if `fail_fast`, and if the device is lost.
    """
    started = datetime.now(UTC)
    STOPWATCH.begin()
    prepared, asked, zeroed = prepare(spec)
    with session(folder, spec, resume, again=fail_fast) as store:
        found = count_existing(prepared, store)
        probed = sum(
            image_path(folder, index, PARTS[-1]).is_file() for index in prepared.indices.tolist()
        )
        of_images = (probed, len(prepared.indices), "images with tokens removed")
        announce(folder, run_size(prepared), [found, of_images], quiet)
        with progress_bar(found[1], quiet) as progress:
            failures = execute(prepared, store, progress, fail_fast)
        if fail_fast:
            raise_first(prepared, failures)
        with progress_bar(len(prepared.indices), quiet, "images") as progress:
            probe_images(prepared, asked, zeroed, Kept(store, question(prepared, spec)), progress)
        return conclude(prepared, spec, store, failures, started)


def conclude(
    prepared: Prepared,
    spec: SensitivitySpec,
    store: Store,
    failures: dict[str, str],
    started: datetime,
) -> Analysis:
    """Tables and headline of the images, which are all there, and of the cells."""
    (model,) = prepared.models.values()
    found = [read_image(store.folder, index) for index in prepared.indices.tolist()]
    frames = analyses(spec.backbone, model, found) | {
        "sensitivity_methods": single_block.curves_frame(prepared, store, failures),
        "sensitivity_kept": single_block.kept_frame(prepared, store, failures),
        "sensitivity_skipped": single_block.skipped_frame(prepared, failures),
    }
    for name, frame in frames.items():
        store.write_analysis(name, frame)
    headline = summarize_findings(spec, frames)
    store.write_headline(headline)
    store.write_dataset(dataset_record(prepared))
    store.write_environment(
        environment() | consumption(started) | execution_record(prepared, store)
    )
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
    layers = select(spec.layers, (0, *model.sites), "layers")
    group = max(1, round(spec.share * shape.patches))
    if group >= shape.patches:
        raise UserError(
            f"--share {spec.share} leaves none of {shape.patches} patch tokens: ask for less"
        )
    one_site = single_block.OneSite(
        [parse(text) for text in common.methods], layers, group, spec.seed
    )
    context = context_of(model, dataset, indices, common, device)
    cells = one_site.cells(spec.backbone, model, context)
    asked = Asked(
        layers=layers,
        ranks=torch.tensor(select_patches(spec.positions, grid)),
        group=group,
        places=places_of_class_token(model, shape.length, spec.places),
        scores=readable(model),
        seed=spec.seed,
        batch=spec.batch,
    )
    zeroed = (
        stratified(dataset.labels, min(spec.zeroed, len(indices))) if spec.zeroed else indices[:0]
    )
    prepared = Prepared(common, device, threads, {spec.backbone: model}, dataset, indices, cells)
    return prepared, asked, zeroed


def grid_of(model: Backbone) -> tuple[int, int, int]:
    """Frames, rows and columns of the patch tokens; UserError where they form no square."""
    shape = model.describe()
    if shape.side is None:
        raise UserError(
            f"the patches of {model.name} form no square: choose a backbone whose frames are square"
        )
    return shape.frames, shape.side, shape.side


def places_of_class_token(model: Backbone, length: int, count: int) -> torch.Tensor:
    """`count` places spread evenly over the sequence, its ends and the class token's own among them.

    None where the backbone has not exactly one special token.
    """
    if len(model.special_places) != 1 or not count:
        return torch.empty(0, dtype=torch.long)
    spread = np.linspace(0, length - 1, count).round().astype(np.int64)
    return torch.from_numpy(np.union1d(spread, model.special_places))


def question(prepared: Prepared, spec: SensitivitySpec) -> str:
    """Hash of all that the findings of an image depend on."""
    return digest([spec.model_dump(mode="json"), prepared.dense(spec.backbone).key])[:16]


@dataclass(frozen=True)
class Kept:
    """What images showed, on disk: files that say which `question` they answer."""

    store: Store
    question: str

    def claim(self, index: int, wait: bool) -> AbstractContextManager[bool]:
        """Keep other processes from image `index` (see `suite.store.locks.claimed`)."""
        return self.store.claim(f"image-{index:05d}", wait)

    def done(self, index: int) -> bool:
        """`has`, but not while another process is at the image."""
        with self.claim(index, wait=False) as mine:
            return mine and self.has(index)

    def has(self, index: int) -> bool:
        """Whether all of what image `index` showed is there, whole and its own; call it with the claim."""
        found = [
            self.store.has(path, self._holding(path)) for path in self._paths(index)
        ]  # all are looked at
        return all(found)

    def write(self, index: int, findings: Findings) -> None:
        """Keep what image `index` showed."""
        frames = (getattr(findings, part) for part in PARTS)
        paths = self._paths(index)
        self.store.write_sealed(
            {path: (frame, self._holding(path)) for path, frame in zip(paths, frames, strict=True)}
        )

    def _paths(self, index: int) -> list[Path]:
        return [image_path(self.store.folder, index, part) for part in PARTS]

    def _holding(self, path: Path) -> str:
        return f"{self.store.name(path)} of question {self.question}"


def probe_images(
    prepared: Prepared,
    asked: Asked,
    zeroed: NDArray[np.int64],
    kept: Kept,
    progress: Callable[[int], None],
) -> None:
    """Probe every image that is not on disk yet, beside other processes that do; `progress` is told of each."""
    missing = [index for index in prepared.indices.tolist() if not kept.done(index)]
    progress(len(prepared.indices) - len(missing))
    elsewhere = probe_free(prepared, asked, zeroed, kept, missing, progress)
    for index in elsewhere:  # done by now, or left by a process that died
        probe_free(prepared, asked, zeroed, kept, [index], progress, wait=True)


def probe_free(
    prepared: Prepared,
    asked: Asked,
    zeroed: NDArray[np.int64],
    kept: Kept,
    wanted: Sequence[int],
    progress: Callable[[int], None],
    wait: bool = False,
) -> list[int]:
    """Probe those images of `wanted` that no other process is at, or `wait` for it; returns those left to others."""
    (model,) = prepared.models.values()
    frames, *side = grid_of(model)
    shown = (side[0], side[1]) if frames == 1 else None
    left = []
    for batch in batches(
        prepared.data_for(model), np.array(wanted, dtype=np.int64), 1, model.image_size, shown
    ):
        index = int(batch.indices)
        with kept.claim(index, wait) as mine:
            if not mine:
                left.append(index)
                continue
            if not kept.has(index):
                kept.write(
                    index, probe_sparing(model, subject_of(batch, prepared.device, zeroed), asked)
                )
        progress(1)
    return left


def probe_sparing(model: Backbone, subject: Subject, asked: Asked) -> Findings:
    """`probe` with fewer variants at once where memory runs out."""

    def with_batch(batch: int) -> Findings:
        with torch.no_grad():
            return probe(model, subject, replace(asked, batch=batch))

    return with_less(asked.batch, with_batch, f"image {int(subject.index)}")[0]


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


def read_image(folder: Path, index: int) -> Findings:
    """What image `index` showed."""
    return Findings(**{part: pd.read_parquet(image_path(folder, index, part)) for part in PARTS})


def analyses(backbone: str, model: Backbone, found: Sequence[Findings]) -> dict[str, pd.DataFrame]:
    """The tables that follow from the images' findings, by name."""
    tokens = token_tables.Tokens.of(
        backbone, [each.tokens for each in found], grid_of(model), model.special_places
    )
    groups, placements = [each.groups for each in found], [each.placements for each in found]
    return {
        "sensitivity_map": token_tables.map_frame(tokens),
        "sensitivity_profile": token_tables.profile_frame(tokens),
        "sensitivity_agreement": token_tables.agreement_frame(tokens),
        "sensitivity_distance": token_tables.distance_frame(tokens),
        "sensitivity_scores": token_tables.score_frame(tokens),
        "sensitivity_groups": token_tables.effects_frame(
            backbone, groups, ["block", "ranking", "window"]
        ),
        "sensitivity_placements": token_tables.effects_frame(
            backbone, placements, ["block", "place"]
        ),
    }

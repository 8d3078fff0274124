"""Plan a run: open its images and models, lay out its cells, and refuse what cannot run."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from backbones import create_model
from backbones.base import Backbone
from backbones.checkpoints.published import resolve
from backbones.common.errors import UserError
from backbones.common.naming import with_settings
from backbones.preprocessing import Preprocessing
from backbones.scan import check_kernel
from methods.named.oracle import MAX_IMAGES
from methods.spec import parse_all
from suite.config.run_spec import RunSpec
from suite.data import check_labels, open_dataset, pictured, stratified
from suite.data.base import UNDIVIDED, Dataset, Seen, digest
from suite.data.images.sources import CLASSES as GARMENTS
from suite.data.loading.preprocess import Photographs
from suite.plan.ablation_axes import ablated
from suite.plan.cells import DENSE, REMOVING, Cell, planned_record
from suite.plan.further import further_cells
from suite.plan.layout import layout, merge_equal
from suite.plan.settings import Chosen, one_spelling
from suite.plan.smaller import smaller_models, with_smaller
from suite.plan.tuning import check_tries, find_tries, picking_images, settings_on
from suite.store.results import cut_shards
from suite.store.schema import CellRecord
from suite.store.unstated import UNSTATED
from suite.system.hardware import check_precision, pick_device, set_threads
from suite.tries.table import Tries

USUAL_IMAGES: int = RunSpec.model_fields["images"].default


@dataclass(frozen=True)
class Prepared:
    """A run that can begin: models by name, numbers of the chosen images, and all cells.

    ``models``         those that methods run on, then smaller ones
    ``spec``           in its one spelling
    ``cells``          each once, those of the main table first on every backbone
    ``across``         every method under every schedule, where no table of tries answers for it
    ``token_matched``  every method by equal counts of tokens; these and ``across`` are among
                       ``cells`` by their keys, where another label may stand for the same cell
    ``settings``       those of all methods by backbone, from the table in ``tries`` if any
    ``set_aside``      how many images picked settings, and so are no evidence for them
    """

    spec: RunSpec
    device: str
    threads: int
    models: dict[str, Backbone]
    dataset: Dataset
    chosen: NDArray[np.int64]
    cells: list[Cell]
    across: list[Cell] = field(default_factory=list)
    token_matched: list[Cell] = field(default_factory=list)
    settings: dict[str, Chosen] = field(default_factory=dict)
    tries: dict[str, Tries] = field(default_factory=dict)
    set_aside: int = 0
    left_out: dict[int, str] = field(default_factory=dict, compare=False)
    skip_damaged: bool = False
    seen: dict[int, Seen] = field(default_factory=dict, repr=False, compare=False)

    @property
    def indices(self) -> NDArray[np.int64]:
        """Numbers of the chosen images that can be read."""
        return self._readable(self.chosen)

    def _readable(self, images: NDArray[np.int64]) -> NDArray[np.int64]:
        return images[~np.isin(images, list(self.left_out))] if self.left_out else images

    @property
    def samples(self) -> int:
        """Images, or clips of videos, that a model sees under each cell."""
        return len(self.indices) * self.dataset.views

    @property
    def size(self) -> str:
        """How many cells run on how many images or videos, in words."""
        size = f"{len(self.keys):,} cells on {len(self.indices):,} {self.dataset.kind}"
        left_out = self._left_out_note(self.left_out.values())
        return "; ".join(text for text in (size, self.unused_split, left_out) if text)

    @property
    def left_out_note(self) -> str:
        """The images that are damaged or gone, without which the run goes on; else empty.

        For what is stored and shown: without the folder of the data, which may name a user.
        """
        return self._left_out_note(self.left_out_below)

    @property
    def left_out_below(self) -> list[str]:
        """What is wrong with each image that was left out, paths below the folder of the data."""
        data = self.dataset
        texts = list(self.left_out.values())
        return list(map(data.below, texts)) if isinstance(data, Photographs) else texts

    def _left_out_note(self, texts: Collection[str]) -> str:
        if not texts:
            return ""
        return (
            f"left out of {len(self.chosen):,} {self.dataset.kind}, damaged or gone: "
            f"{len(texts):,} ({'; '.join(texts)})"
        )

    @property
    def unused_split(self) -> str:
        """That the data set has no splits, if one was set that chose nothing; else empty."""
        if self.dataset.split != UNDIVIDED or self.spec.split == UNDIVIDED:
            return ""
        return (
            f"the data set has no splits: --split {self.spec.split} is all of its "
            f"{len(self.dataset):,} {self.dataset.kind}"
        )

    @property
    def shards(self) -> list[NDArray[np.int64]]:
        """Numbers of the images of each shard, which may have none that can be read."""
        # Cut before images are left out, so that each stays in its shard.
        return [self._readable(part) for part in cut_shards(self.chosen, self.spec.shard_size)]

    @cached_property
    def data(self) -> dict[str, Dataset]:
        """The data in samples as each backbone takes them."""
        # One object for each kind of sample, since its decoding processes belong to it.
        kinds: dict[tuple[Preprocessing, int], Dataset] = {}
        data = {}
        for name, model in self.models.items():
            kind = model.preprocessing, model.frames
            if kind not in kinds:
                samples = self.dataset.prepared_as(model.preprocessing).in_frames(model.frames)
                kinds[kind] = samples
            data[name] = kinds[kind]
        return data

    @cached_property
    def runnable(self) -> dict[str, list[Cell]]:
        """By backbone the cells that have a plan, the dense one first."""
        runnable: dict[str, list[Cell]] = {name: [] for name in self.models}
        for cell in self.cells:
            if cell.plan is not None:
                runnable[cell.backbone].append(cell)
        return runnable

    @property
    def main(self) -> list[Cell]:
        """The cells of the main tables and figures."""
        return [cell for cell in self.cells if cell.shown]

    @property
    def backbones(self) -> dict[str, Backbone]:
        """The models that methods run on."""
        return {name: self.models[name] for name in self.spec.backbones}

    @property
    def keys(self) -> list[str]:
        """Keys of the cells that have a plan."""
        return [cell.key for cell in self.cells if cell.plan is not None]

    @property
    def dense(self) -> dict[str, Cell]:
        """The unreduced cell of each backbone."""
        return {cell.backbone: cell for cell in self.cells if cell.method == DENSE}

    @property
    def records(self) -> list[CellRecord]:
        """What is stored of each cell before it ran, in their order."""
        records = []
        for cell in self.cells:
            weights = self.models[cell.backbone].provenance
            images = len(self.indices)
            records.append(planned_record(cell, self.spec, self.dataset, images, weights))
        return records


@dataclass
class Opened:
    """Data sets and models that several plans share, by the settings on which they depend."""

    datasets: dict[tuple[str | None, ...], Dataset] = field(default_factory=dict)
    models: dict[tuple[str | None, ...], Backbone] = field(default_factory=dict)


def prepare(spec: RunSpec, opened: Opened | None = None, further: bool = True) -> Prepared:
    """Plan the run of `spec`; UserError if anything it needs cannot be had.

    Data and models that are `opened` already are used again, and others are added to them. Without
    `further` cells the plan has those of the main table alone.
    """
    opened = opened or Opened()
    # What fails at once comes before what takes long to load.
    spec = one_spelling(spec)
    device = pick_device(spec.device)
    dtype = check_precision(spec.precision, device)
    threads = set_threads(spec.threads)
    data = spec.data, spec.split, spec.source, spec.views
    if data not in opened.datasets:
        opened.datasets[data] = open_dataset(
            spec.data, spec.split, source=spec.source, views=spec.views
        )
    dataset = opened.datasets[data]
    count = len(choose_images(dataset, spec.images))
    named = parse_all(spec.methods)
    methods = ablated(named, spec.axes)
    # The oracle runs a pass for each token and site.
    if count > MAX_IMAGES and any(method.method.kind == "oracle" for method in methods):
        raise UserError(
            f"oracle runs on at most {MAX_IMAGES} images, not {count:,}: add --images {MAX_IMAGES}"
        )
    models: dict[str, Backbone] = {}
    tries: dict[str, Tries] = {}
    settings: dict[str, Chosen] = {}
    smaller = smaller_models(spec, dataset.name)
    for name in dict.fromkeys((*spec.backbones, *smaller)):
        weights = name, *data, spec.checkpoint, spec.kernel, spec.precision, device
        if weights not in opened.models:
            opened.models[weights] = load_model(
                name, spec.checkpoint, spec.kernel, dataset, device, dtype
            )
        models[name] = opened.models[weights]
        if name not in spec.backbones:
            continue
        table = find_tries(spec, name, weights_hash(models[name]), dataset)
        if table:
            tries[name] = table
        settings[name] = settings_on(dataset, named, spec, table, methods[len(named) :])
    check_tries(spec, tries)
    picking = picking_images([tries[name] for name in tries if settings[name].tuned], dataset)
    indices = choose_images(dataset, spec.images, without=picking)
    pictured(indices, spec.gallery)  # refuses pictures that are not among the images
    laid_out: list[Cell] = []
    more: list[Cell] = []
    contexts = {
        name: context_of(model, dataset, indices, spec.precision, device, spec.kernel)
        for name, model in models.items()
    }
    for name in spec.backbones:
        model = models[name]
        main = layout(name, model, methods, spec, contexts[name], settings[name])
        laid_out += main
        if further:
            own = further_cells(model, named, spec, main, settings[name], tries.get(name))
            laid_out, more = merge_equal([*laid_out, *own]), [*more, *own]
    laid_out = with_smaller(laid_out, smaller, models, contexts, spec)
    shown = [cell for cell in laid_out if cell.shown]
    if spec.protocol == "paper":
        check_published(shown)
    check_reachable(shown)
    return Prepared(
        spec,
        device,
        threads,
        models,
        dataset,
        indices,
        laid_out,
        across=[cell for cell in more if cell.role == "schedule"],
        token_matched=[cell for cell in more if cell.role == "tokens"],
        settings=settings,
        tries=tries,
        set_aside=len(picking),
    )


def check_published(cells: Sequence[Cell]) -> None:
    """UserError if no method runs as published, so that there is nothing to match others to."""
    published = [cell for cell in cells if cell.protocol == "paper" and cell.method != DENSE]
    if any(cell.plan for cell in published):
        return
    for cell in published:
        if cell.reason and cell.reason != UNSTATED:
            raise UserError(
                f"protocol paper: {cell.label} cannot run on {cell.backbone} as published "
                f"({cell.reason}): use --protocol matched"
            )
    raise UserError(
        "protocol paper: no method that was named has published sites and counts: add one that "
        "has, such as rmeeto, or use --protocol matched"
    )


def check_reachable(cells: Sequence[Cell]) -> None:
    """UserError if there are methods that remove tokens and none of them meets any budget."""
    # A smaller image removes no tokens: alone it compares nothing.
    reduced = [cell for cell in cells if cell.budget and cell.kind in REMOVING]
    nearest = [cell for cell in reduced if cell.closest is not None]
    if nearest and not any(cell.plan for cell in reduced):
        best = min(nearest, key=lambda cell: abs((cell.closest or 0.0) - (cell.budget or 0.0)))
        raise UserError(
            f"no budget can be met: the closest to {100 * (best.budget or 0.0):.4g} % of the work "
            f"of {best.backbone} that can be removed is {100 * (best.closest or 0.0):.4g} %, by "
            f"{best.label}: ask for that"
        )


def choose_images(
    dataset: Dataset,
    images: int | Literal["all"],
    usual: int = USUAL_IMAGES,
    without: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Numbers of the images of the run, ascending: all, or a sample stratified by class.

    The `usual` number, which nobody may have asked for, is at most that many. Images `without`
    which it goes have picked settings. UserError if there are not as many.
    """
    if without is None or not len(without):
        left = np.arange(len(dataset))
    else:
        left = np.setdiff1d(np.arange(len(dataset)), without)
        asked = images if isinstance(images, int) and images != usual else 1
        if len(left) < asked:
            raise UserError(
                f"{len(without):,} of the {len(dataset):,} {dataset.kind} of split {dataset.split} "
                f"picked the tuned settings and are no evidence for them: {len(left):,} are left, "
                "fewer than asked for; use --split test, or --schedule constant-ratio"
            )
    if images == "all" or (images == usual and len(left) <= usual):
        return left
    return left[stratified(dataset.labels[left], images)]


def load_model(
    name: str, checkpoint: str, kernel: str, dataset: Dataset, device: str, dtype: torch.dtype
) -> Backbone:
    """Load a backbone with its weights onto `device`.

    UserError if the kernel cannot run there, or if backbone, weights and data do not fit.
    """
    if checkpoint == "bundled":
        check_order(dataset, name)
    source = fix = None
    if checkpoint != "random":
        source = resolve(checkpoint, name, dataset.name)
    else:
        fitting = with_settings(name, classes=len(dataset.classes))
        fix = f"give the untrained head as many, --backbones '{fitting}'"
    # Untrained weights are the same in every process, so that their results can be compared.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = create_model(name, source, kernel=kernel)
    # A transformer has no scan, whatever kernel was asked for.
    if model.mixers():
        check_kernel(kernel, device, dtype)
    model = model.to(device).cast(dtype)
    # Before labels are compared: the kind is the plainer reason.
    if dataset.kind == "images" and model.frames > 1:
        raise UserError(
            f"{model.name} takes clips of {model.frames} frames and '{dataset.name}' has images: "
            "use --data video:PATH or frames:PATH, or a backbone for images"
        )
    if dataset.kind == "videos" and model.frames == 1:
        raise UserError(
            f"{model.name} takes images and '{dataset.name}' has videos: use a backbone for clips "
            "(python -m suite list backbones), or a data set of images"
        )
    check_labels(dataset, model.describe().classes, fix)
    return model


def check_order(dataset: Dataset, backbone: str) -> None:
    """UserError if the classes are those of the bundled weights by name, but numbered otherwise.

    Every prediction would then be compared with the wrong class.
    """
    given, expected = _plain_names(dataset.classes), _plain_names(GARMENTS)
    if given != expected and sorted(given) == sorted(expected):
        last = len(GARMENTS) - 1
        raise UserError(
            f"'{dataset.name}' numbers the classes in the order of their names, {backbone}'s "
            "weights do not: begin each folder's name with its number "
            f"(0-{GARMENTS[0]}, 1-{GARMENTS[1]}, ..., {last}-{GARMENTS[-1]})"
        )


def _plain_names(names: tuple[str, ...]) -> list[str]:
    """Names without case, spaces and punctuation: folders spell them in several ways."""
    return [re.sub(r"[\W_]", "", name).casefold() for name in names]


def context_of(
    model: Backbone,
    dataset: Dataset,
    indices: NDArray[np.int64],
    precision: str,
    device: str,
    kernel: str,
) -> str:
    """Hash what all cells of one backbone share: weights, images, and how numbers are computed.

    Images in files are no part of it: outcomes of each are kept with a hash of its bytes.
    """
    by_number = not isinstance(dataset, Photographs)
    return digest(
        {
            "weights": weights_hash(model),
            "data": dataset.prepared_as(model.preprocessing).rules(),
            "images": indices.tolist() if by_number else None,
            "precision": precision,
            "device": device,
            "kernel": kernel,
        }
    )


def weights_hash(model: Backbone) -> str | None:
    """SHA-256 of the weights of a model; None of untrained ones."""
    return model.provenance.sha256 if model.provenance else None

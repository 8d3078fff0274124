"""Plan a run: open its models and images, lay out its cells, and refuse what cannot run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from backbones.base import Backbone
from backbones.common.errors import UserError
from backbones.preprocessing import Preprocessing
from methods.named.oracle import MAX_IMAGES
from methods.spec import MethodSpec, parse
from suite.config.run_spec import RunSpec
from suite.data import open_dataset, pictured, stratified
from suite.data.base import Dataset, digest
from suite.plan.ablation_axes import ablated
from suite.plan.cells import DENSE, Cell, describe
from suite.plan.layout import layout
from suite.plan.models import load_model
from suite.store.results import cut_shards
from suite.store.schema import CellRecord
from suite.system.hardware import check_precision, pick_device, set_threads

# Settings on which the data, and the models with it, depend.
DATA_SETTINGS = ("data", "split", "source", "views")
MODEL_SETTINGS = (*DATA_SETTINGS, "checkpoint", "kernel", "precision", "device")


@dataclass(frozen=True)
class Prepared:
    """A run that can begin: models by name, numbers of the chosen images, and all cells."""

    spec: RunSpec
    device: str
    threads: int
    models: dict[str, Backbone]
    dataset: Dataset
    indices: NDArray[np.int64]
    cells: list[Cell]
    _data: dict[tuple[int, Preprocessing, int], Dataset] = field(
        default_factory=dict, repr=False, compare=False
    )

    @property
    def samples(self) -> int:
        """Images, or clips of videos, that a model sees under each cell."""
        return len(self.indices) * self.dataset.views

    @property
    def shards(self) -> list[NDArray[np.int64]]:
        """Numbers of the images of each shard."""
        return cut_shards(self.indices, self.spec.shard_size)

    def data_for(self, model: Backbone) -> Dataset:
        """The data in samples that `model` takes."""
        # One object for each kind of sample, since its decoding processes belong to it.
        kind = id(self.dataset), model.preprocessing, model.frames
        if kind not in self._data:
            samples = self.dataset.prepared_as(model.preprocessing).in_frames(model.frames)
            self._data[kind] = samples
        return self._data[kind]

    def runnable(self, backbone: str) -> list[Cell]:
        """Cells of `backbone` that have a plan, the dense one first."""
        return [cell for cell in self.cells if cell.backbone == backbone and cell.plan is not None]

    def dense(self, backbone: str) -> Cell:
        """The unreduced cell of `backbone`."""
        return next(
            cell for cell in self.cells if cell.backbone == backbone and cell.method == DENSE
        )

    def record(self, cell: Cell) -> CellRecord:
        """What is stored of `cell` before it ran."""
        provenance = self.models[cell.backbone].provenance
        weights = provenance.sha256 if provenance else None
        return describe(cell, self.spec, len(self.indices), weights)


def prepare(spec: RunSpec, earlier: Sequence[Prepared] = ()) -> Prepared:
    """Plan the run of `spec`; UserError if anything it needs cannot be had.

    Data and models are taken over from those runs `earlier` that have the same.
    """
    device = pick_device(spec.device)
    dtype = check_precision(spec.precision, device)
    threads = set_threads(spec.threads)
    alike = _alike(spec, earlier, DATA_SETTINGS)
    if alike:
        dataset = alike[0].dataset
    else:
        dataset = open_dataset(spec.data, spec.split, source=spec.source, views=spec.views)
    indices = choose_images(dataset, spec)
    pictured(indices, spec.gallery)  # refuses pictures that are not among the images
    methods = ablated([parse(text) for text in spec.methods], spec.axes)
    check_oracle(methods, len(indices))
    loaded: dict[str, Backbone] = {}
    for other in _alike(spec, earlier, MODEL_SETTINGS):
        loaded |= other.models
    models: dict[str, Backbone] = {}
    cells: list[Cell] = []
    for name in spec.backbones:
        if name not in loaded:
            loaded[name] = load_model(name, spec, dataset, device, dtype)
        models[name] = loaded[name]
        context = context_of(models[name], dataset, indices, spec, device)
        cells += layout(name, models[name], methods, spec, context)
    return Prepared(spec, device, threads, models, dataset, indices, cells)


def _alike(spec: RunSpec, earlier: Iterable[Prepared], settings: Sequence[str]) -> list[Prepared]:
    """Those of the runs `earlier` that have the same `settings`."""
    alike = []
    for other in earlier:
        if all(getattr(other.spec, name) == getattr(spec, name) for name in settings):
            alike.append(other)
    return alike


def context_of(
    model: Backbone, dataset: Dataset, indices: NDArray[np.int64], spec: RunSpec, device: str
) -> str:
    """Hash what all cells of one backbone share: weights, images, and how numbers are computed."""
    return digest(
        {
            "weights": model.provenance.sha256 if model.provenance else None,
            "data": dataset.prepared_as(model.preprocessing).manifest(),
            "images": indices.tolist(),
            "precision": spec.precision,
            "device": device,
            "kernel": spec.kernel,
        }
    )


def check_oracle(methods: Sequence[MethodSpec], images: int) -> None:
    """UserError if the oracle, a pass for each token and site, has too many images to run on."""
    if images > MAX_IMAGES and any(method.method.kind == "oracle" for method in methods):
        raise UserError(
            f"oracle runs on at most {MAX_IMAGES} images, not {images:,}: add --images {MAX_IMAGES}"
        )


def choose_images(dataset: Dataset, spec: RunSpec) -> NDArray[np.int64]:
    """Numbers of the images of the run, ascending: all, or a sample stratified by class."""
    if spec.images == "all":
        return np.arange(len(dataset))
    return stratified(dataset.labels, spec.images)

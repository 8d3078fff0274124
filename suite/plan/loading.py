"""Open what a run needs: its data, its backbones with weights, and whether these go together."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from backbones import create_model
from backbones.base import Backbone
from backbones.checkpoints.published import resolve
from backbones.common.errors import UserError
from backbones.common.naming import with_settings
from backbones.scan import check_kernel
from suite.config.run_spec import RunSpec
from suite.data import check_labels, open_dataset
from suite.data.base import Dataset, digest
from suite.data.images.sources import CLASSES as GARMENTS
from suite.data.loading.preprocess import Photographs


@dataclass
class Opened:
    """Data sets and models that several plans share, by the settings on which they depend."""

    datasets: dict[tuple[str | None, ...], Dataset] = field(default_factory=dict)
    models: dict[tuple[str | None, ...], Backbone] = field(default_factory=dict)

    def dataset(self, spec: RunSpec) -> Dataset:
        """The data of `spec`, opened now if they were not before."""
        key = _data_key(spec)
        if key not in self.datasets:
            self.datasets[key] = open_dataset(
                spec.data, spec.split, source=spec.source, views=spec.views
            )
        return self.datasets[key]

    def model(self, name: str, spec: RunSpec, device: str, dtype: torch.dtype) -> Backbone:
        """The backbone `name` for the data of `spec`, loaded now if it was not before."""
        key = name, *_data_key(spec), spec.checkpoint, spec.kernel, spec.precision, device
        if key not in self.models:
            self.models[key] = load_model(
                name, spec.checkpoint, spec.kernel, self.dataset(spec), device, dtype
            )
        return self.models[key]


def _data_key(spec: RunSpec) -> tuple[str | None, ...]:
    return spec.data, spec.split, spec.source, spec.views


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

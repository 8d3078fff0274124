"""Open what a run needs: its data, its backbones with weights, and whether these go together."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from backbones import create_model, own_weights
from backbones.base import Backbone
from backbones.checkpoints.published import resolve
from backbones.common.errors import UserError, describe_error
from backbones.common.naming import with_settings
from backbones.preprocessing import Inference
from suite.config.run_spec import RunSpec
from suite.data import check_labels, open_dataset
from suite.data.base import Dataset, OtherTaskError, digest
from suite.data.images.sources import CLASSES as GARMENTS
from suite.data.loading.preprocess import Photographs
from suite.data.trained_on import training_of


@dataclass
class Opened:
    """Data sets and models that several plans share, by the settings on which they depend."""

    datasets: dict[tuple[str | None, ...], Dataset] = field(default_factory=dict)
    models: dict[tuple[str | None, ...], Backbone] = field(default_factory=dict)

    def keep(self, spec: RunSpec, dataset: Dataset) -> None:
        """Use `dataset` as the data of `spec`, whose name for them need mean nothing."""
        self.datasets[_data_key(spec)] = dataset

    def dataset(self, spec: RunSpec) -> Dataset:
        """The data of `spec`, opened now if they were not before."""
        key = _data_key(spec)
        if key not in self.datasets:
            self.datasets[key] = open_dataset(
                spec.data, spec.split, source=spec.source, views=spec.views, task=spec.task
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


def seen_by(
    model: Backbone, dataset: Dataset, inference: Literal["published"] | Inference
) -> Dataset:
    """The data in samples as `model` takes them, of pictures as `inference` says.

    UserError for data that have no pictures larger than what a model sees, and for whole pictures
    where it takes squares alone.
    """
    samples = dataset.prepared_as(model.preprocessing).in_frames(model.frames)
    mode = model.inference if inference == "published" else inference
    if mode == "centre":
        return samples
    shown = samples.shown_as(mode, model.multiple)
    if shown is None and dataset.task != "segmentation":
        raise UserError(
            "--inference is of segmentation, whose pixels all count: add --task segmentation, or "
            "leave it out"
        )
    if shown is None and inference != "published":
        raise UserError(
            f"a model sees each of the {dataset.kind} of '{dataset.name}' whole already: leave "
            "--inference out"
        )
    if shown is not None and mode == "whole":
        # refuses rectangles where they cannot be taken
        model.on_rectangle(model.image_size, model.image_size)
    return shown or samples


def shown_as_usual(
    model: Backbone, dataset: Dataset, inference: Literal["published"] | Inference
) -> bool:
    """Whether the model sees the same of each picture as under `tune`, which shows the usual."""
    shown = seen_by(model, dataset, inference)
    return shown.inference == seen_by(model, dataset, "published").inference


def _data_key(spec: RunSpec) -> tuple[str | None, ...]:
    return spec.data, spec.split, spec.source, spec.views, spec.task


def load_model(
    name: str, checkpoint: str, kernel: str, dataset: Dataset, device: str, dtype: torch.dtype
) -> Backbone:
    """Load a backbone with its weights onto `device`.

    UserError if the kernel cannot run there, or if backbone, weights and data do not fit.
    """
    bare, own = own_weights(name)
    checkpoint = own or checkpoint
    if checkpoint == "bundled":
        check_order(dataset, GARMENTS, name)
    source = fix = None
    if checkpoint != "random":
        source = resolve(checkpoint, bare, dataset.name)
    else:
        fitting = with_settings(name, classes=len(dataset.classes))
        fix = f"give the untrained head as many, --backbones '{fitting}'"
    # Untrained weights are the same in every process, so that their results can be compared.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = create_model(bare, source, kernel=kernel)
    if training := training_of(model):
        check_order(dataset, training.classes, name)
    # A transformer has no scan, whatever kernel was asked for.
    for mixer in model.mixers()[:1]:
        mixer.check_kernel(device, dtype)
    model = model.to(device).cast(dtype)
    if model.code is not None:
        check_runs(model, device)
    # Before labels are compared: task and kind are the plainer reasons.
    check_task(model, dataset)
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


def check_task(model: Backbone, dataset: Dataset) -> None:
    """UserError unless the model names what the data have classes of: images, or pixels."""
    if model.task == dataset.task:
        return
    if dataset.task == "segmentation":
        raise OtherTaskError(
            f"{model.name} names the class of an image, and segmentation is of pixels",
            "use a backbone with such a head (python -m suite list backbones), or leave --task out",
        )
    raise OtherTaskError(
        f"{model.name} names the classes of pixels",
        "add --task segmentation, or use its backbone without the head",
    )


def check_runs(model: Backbone, device: str) -> None:
    """UserError unless a third party's model gives the logits of an image, or of a clip."""
    shape = model.describe()
    frames = (model.frames,) if model.frames > 1 else ()
    size, dense = model.image_size, model.task == "segmentation"
    expected = f"1, {shape.classes}, rows, columns" if dense else f"1, {shape.classes}"
    image = torch.zeros(1, shape.channels, *frames, size, size, device=device)
    try:
        with torch.inference_mode():
            logits = tuple(model(image).shape)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"backbone '{model.name}' fails on an image ({describe_error(error)}): correct it; "
            "'python -m suite verify --backbone' checks all that it must do"
        ) from error
    # A segmenter's logits are of places in the image, as many as its head likes.
    if logits[:2] != (1, shape.classes) or len(logits) != (4 if dense else 2):
        raise UserError(
            f"backbone '{model.name}' gives logits of shape {logits} for one image, not "
            f"({expected}): correct it"
        )


def check_order(dataset: Dataset, trained: Sequence[str], backbone: str) -> None:
    """UserError if the classes are those `trained` on by name, but numbered otherwise.

    Every prediction would then be compared with the wrong class.
    """
    given, expected = _plain_names(dataset.classes), _plain_names(trained)
    if given != expected and sorted(given) == sorted(expected):
        last = len(trained) - 1
        raise UserError(
            f"'{dataset.name}' numbers the classes in the order of their names, {backbone}'s "
            "weights do not: begin each folder's name with its number "
            f"(0-{trained[0]}, 1-{trained[1]}, ..., {last}-{trained[-1]})"
        )


def _plain_names(names: Sequence[str]) -> list[str]:
    """Names without case, spaces and punctuation: folders spell them in several ways."""
    return [re.sub(r"[\W_]", "", name).casefold() for name in names]


def context_of(
    model: Backbone,
    dataset: Dataset,
    indices: NDArray[np.int64],
    spec: RunSpec,
    device: str,
) -> str:
    """Hash what all cells of one backbone share: weights, images, and how numbers are computed.

    Images in files are no part of the hash: outcomes of each are kept with a hash of its bytes.
    """
    samples = seen_by(model, dataset, spec.inference)
    by_number = not isinstance(samples, Photographs)
    return digest(
        {
            "weights": weights_hash(model),
            "code": [model.code, samples.code],
            "data": samples.rules(),
            "images": indices.tolist() if by_number else None,
            "precision": spec.precision,
            "device": device,
            "kernel": spec.kernel,
        }
    )


def weights_hash(model: Backbone) -> str | None:
    """SHA-256 of the weights of a model; None of untrained ones, which are always the same."""
    if model.provenance:
        return model.provenance.sha256
    # The code of a third party may itself have read weights.
    return None if model.code is None else state_hash(model)


def state_hash(model: Backbone) -> str:
    """SHA-256 of the names and numbers in a model."""
    made = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        made.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        made.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return made.hexdigest()

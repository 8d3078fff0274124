"""Load the backbones of a run, and refuse weights or kinds of data that do not fit together."""

from __future__ import annotations

import re

import torch

from backbones import create_model
from backbones.base import Backbone
from backbones.checkpoints.published import files_of
from backbones.checkpoints.source import resolve
from backbones.common.errors import UserError
from backbones.common.naming import with_settings
from backbones.scan import check_kernel
from suite.config.run_spec import RunSpec
from suite.data import check_labels
from suite.data.base import Dataset
from suite.data.images.sources import CLASSES as GARMENTS


def load_model(
    name: str, spec: RunSpec, dataset: Dataset, device: str, dtype: torch.dtype
) -> Backbone:
    """Load a backbone with its weights onto `device`.

    UserError if the kernel cannot run there, or if backbone, weights and data do not fit.
    """
    checkpoint = None
    if spec.checkpoint != "random":
        checkpoint = resolve(spec.checkpoint, name, dataset.name)
    # Untrained weights are the same in every process, so that their results can be compared.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = create_model(name, checkpoint, kernel=spec.kernel)
    if model.mixers():
        check_kernel(spec.kernel, device, dtype)
    check_kind(dataset, model)
    fix = with_classes(name, len(dataset.classes)) if checkpoint is None else None
    check_labels(dataset, model.describe().classes, fix)
    if spec.checkpoint == "bundled":
        check_order(dataset, name)
    return model.to(device).cast(dtype)


def with_classes(name: str, classes: int) -> str:
    """Say how to give the untrained backbone `name` a head for so many classes."""
    return f"give the untrained head as many, --backbones '{with_settings(name, classes=classes)}'"


def check_order(dataset: Dataset, backbone: str) -> None:
    """UserError if the classes are those of the bundled weights by name, but numbered otherwise.

    Every prediction would then be compared with the wrong class.
    """
    trained = {row.data for row in files_of(backbone) if row.source == "bundled"}
    classes: tuple[str, ...] = GARMENTS if "fashion-clutter" in trained else ()
    given, expected = _plain_names(dataset.classes), _plain_names(classes)
    if given != expected and sorted(given) == sorted(expected):
        last = len(classes) - 1
        raise UserError(
            f"'{dataset.name}' numbers the classes in the order of their names, {backbone}'s "
            "weights do not: begin each folder's name with its number "
            f"(0-{classes[0]}, 1-{classes[1]}, ..., {last}-{classes[-1]})"
        )


def _plain_names(names: tuple[str, ...]) -> list[str]:
    """Names without case, spaces and punctuation: folders spell them in several ways."""
    return [re.sub(r"[\W_]", "", name).casefold() for name in names]


def check_kind(dataset: Dataset, model: Backbone) -> None:
    """UserError unless `model` takes what `dataset` contains: images, or videos."""
    takes_clips = model.frames > 1
    if dataset.kind == "images" and takes_clips:
        raise UserError(
            f"{model.name} takes clips of {model.frames} frames and '{dataset.name}' has images: "
            "use --data video:PATH or frames:PATH, or a backbone for images"
        )
    if dataset.kind == "videos" and not takes_clips:
        raise UserError(
            f"{model.name} takes images and '{dataset.name}' has videos: use a backbone for clips "
            "(python -m suite list backbones), or a data set of images"
        )

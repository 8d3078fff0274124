"""The model with which a fine-tuning begins: trained weights, and a head for other classes."""

from __future__ import annotations

import torch

from backbones import create_model, own_weights
from backbones.base import Backbone
from backbones.checkpoints.published import resolve
from backbones.checkpoints.source import locate
from backbones.common.errors import UserError
from backbones.common.naming import parts, with_settings, without
from suite.config.run_spec import NOT_TRAINED
from suite.data.trained_on import training_of

BUNDLED = "bundled"


def source_of(backbone: str) -> str:
    """The weights of ``NAME[weights=FILE]``, else the bundled ones; UserError if there are none."""
    bare, own = own_weights(backbone)
    if own:
        return resolve(own, bare)
    try:
        locate(BUNDLED, bare)
    except UserError:
        raise UserError(
            f"no weights of {bare} come with the suite or stand beside its file: write --backbone "
            f"'{with_settings(bare, weights='FILE')}' (FILE may be 'official'), or --from-scratch"
        ) from None
    return BUNDLED


def first_model(
    backbone: str, classes: tuple[str, ...], scratch: bool, kernel: str = "auto"
) -> tuple[Backbone, str]:
    """The model to train for these class names, and in words what it begins with.

    Of trained weights all but the head are taken, and the head too where they were trained on the
    same classes (as a file of `train --data` says). From `scratch` all is drawn, from torch's
    global generator. UserError for a backbone whose head cannot have as many classes, or for clips.
    """
    bare, _ = own_weights(backbone)
    model = with_head(bare, len(classes), kernel)
    if model.task == "segmentation":
        raise UserError(f"{model.name} names the classes of pixels: {NOT_TRAINED}")
    if model.frames > 1:
        raise UserError(f"{model.name} takes clips: train takes a backbone for images")
    if scratch:
        return model, "drawn weights"
    source = source_of(backbone)
    trained = create_model(bare, source, kernel=kernel)
    # Even a file without a record of its path has a hash.
    digest = trained.provenance.sha256[:12] if trained.provenance else ""
    words = f"{source} weights ({digest})"
    model.preprocessing = trained.preprocessing
    training = training_of(trained)
    if training and training.classes == classes:
        return trained, f"{words}, with their head for the same classes"
    state = trained.state_dict()
    fresh = model.state_dict()
    state |= {name: fresh[name] for name in head_of(model, bare, len(classes))}
    model.load_state_dict(state)
    return model, f"{words}, with a new head of {len(classes)} classes"


def with_head(bare: str, classes: int, kernel: str = "auto") -> Backbone:
    """The backbone `bare`, its weights drawn, with a head of so many `classes`."""
    try:
        return create_model(with_settings(bare, classes=classes), kernel=kernel)
    except UserError:
        # A user's function may have no such setting.
        model = create_model(without(bare, "classes")[0], kernel=kernel)
        own = model.describe().classes
        if own != classes:
            raise UserError(
                f"{model.name} has a head of {own} classes and the data {classes}: let its "
                "function take the setting 'classes'"
            ) from None
        return model


def head_of(model: Backbone, bare: str, classes: int) -> list[str]:
    """Names of the tensors of the head: their shape changes with the `classes` of `bare`."""
    with torch.random.fork_rng(devices=[]):
        try:
            other = create_model(with_settings(bare, classes=classes + 1)).state_dict()
        except UserError:  # one whose head cannot change keeps it
            return []
    own = model.state_dict()
    return [name for name, tensor in own.items() if tensor.shape != other[name].shape]


def plain_name(backbone: str) -> str:
    """What the backbone is called in a file's name: its own name, or its variable's."""
    return parts(backbone).name.rpartition(":")[2]

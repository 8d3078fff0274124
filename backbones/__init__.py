"""Vision Mamba backbones and an attention control: models, scan kernels, checkpoints; no methods, no data sets."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from backbones.common.errors import UserError
from backbones.common.naming import bracketed
from backbones.common.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from backbones.base import Backbone

_SMALL = ("vim_nano", "vim_pico", "vim_tiny_64", "vim_nano_64")
_BUILTIN = {
    "vim": ("vim_tiny", "vim_small", "vim_base", "vim_tiny_stride8", "vim_small_stride8", *_SMALL),
    "videomamba": (
        "videomamba_tiny",
        "videomamba_small",
        "videomamba_middle",
        "videomamba_base",
        "videomamba_nano",
    ),
    "videomamba_video": (
        "videomamba_tiny_video",
        "videomamba_small_video",
        "videomamba_middle_video",
    ),
    "mambareg": ("mambareg_tiny", "mambareg_small", "mambareg_base", "mambareg_large"),
    "plainmamba": ("plainmamba_l1", "plainmamba_l2", "plainmamba_l3"),
    "vit": (
        "deit_tiny",
        "deit_small",
        "deit_base",
        "vit_tiny",
        "vit_small",
        "vit_base",
        "deit_nano",
    ),
}

BACKBONES: Registry[Callable[..., Backbone]] = Registry(
    "backbone",
    {
        name: f"backbones.models.{module}:{name}"
        for module, names in _BUILTIN.items()
        for name in names
    },
    group="suite.backbones",
)


def create_model(
    name: str,
    checkpoint: str | None = None,
    num_classes: int | None = None,
    *,
    ema: bool | None = None,
    kernel: str = "auto",
    **overrides: Any,
) -> Backbone:
    """The backbone called `name`, in evaluation mode.

    `name` may hold settings, as on the command line: ``videomamba_tiny[image_size=448]``;
    `overrides` are such settings, too. `checkpoint` is a path, ``hf://owner/repo/file``,
    ``official`` (the published file) or ``bundled``; None leaves the initial random weights. What
    was loaded is in the model's ``provenance``. Without `num_classes` the head has as many as the
    weights'. `ema` chooses the averaged weights by name (None: as published), `kernel` the
    selective scan. Raises UserError for an unknown name or a checkpoint that does not fit.
    """
    from backbones.checkpoints import load, published

    plain, given = bracketed(name)
    factory = BACKBONES[plain]
    settings: dict[str, Any] = given | overrides
    asked = frozenset(settings)
    if num_classes is not None:
        settings["classes"] = num_classes
    weights = None if checkpoint is None else load.load(checkpoint, model_name=name, ema=ema)
    _check_settings(plain, factory, settings)
    model = factory(**settings)
    if weights is not None:
        own_head = weights.num_classes in (None, model.describe().classes) or "classes" in settings
        if not own_head:
            model = factory(**settings, classes=weights.num_classes)
        adapted = load.apply(model, weights, settings.get("classes"), asked)
        model.provenance = replace(weights.provenance, adapted=adapted)
    model.preprocessing = published.usual_preprocessing(name) or model.preprocessing
    model.set_kernel(kernel)
    return model.eval()


def _check_settings(name: str, factory: Callable[..., Backbone], settings: dict[str, Any]) -> None:
    """UserError for settings that `factory` does not take, or whose weights alone would fill the memory."""
    import torch

    if not settings:
        return
    try:
        with torch.device("meta"):
            needed = 4 * sum(parameter.numel() for parameter in factory(**settings).parameters())
    except TypeError as error:
        raise UserError(
            f"{name} cannot take these settings ({error}): leave out what it does not know"
        ) from error
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there // 2:
        given = ", ".join(f"{key}={value}" for key, value in settings.items())
        raise UserError(
            f"{name} with {given} has {needed >> 20:,} MB of weights, on a machine of {there >> 20:,} MB: use less"
        )

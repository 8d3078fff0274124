"""Vision Mamba backbones and an attention control.

Models, layers, scan kernels and checkpoints. `create_model` builds a backbone by its name;
`methods` reduces its tokens and `suite` measures both. Nothing here knows a method or a data set.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING, Any

from backbones.common.errors import UserError
from backbones.common.naming import bracketed, with_settings
from backbones.common.registry import Registry
from backbones.models.sizes import FAMILIES

if TYPE_CHECKING:
    from backbones.base import Backbone


def _create_builtin(family: str, name: str, /, **settings: Any) -> Backbone:
    # imported on first use: listing names must not wait for torch
    return import_module(f"backbones.models.{family}").create(name, **settings)


_FACTORIES = {
    name: partial(_create_builtin, family, name)
    for family, configs in FAMILIES.items()
    for name in configs
}
BACKBONES: Registry[Callable[..., Backbone]] = Registry("backbone", _FACTORIES, "suite.backbones")


def create_model(
    name: str,
    checkpoint: str | None = None,
    num_classes: int | None = None,
    *,
    ema: bool | None = None,
    kernel: str = "auto",
    **overrides: Any,
) -> Backbone:
    """Build the backbone called `name`, in evaluation mode.

    `name` may have settings, as on the command line: ``videomamba_tiny[image_size=448]``;
    `overrides` are such settings, too. `checkpoint` is a path, ``hf://owner/repo/file``,
    ``official`` (the published file) or ``bundled``; None leaves the initial random weights. The
    model's ``provenance`` says what was loaded. Without `num_classes` the head has as many as the
    weights'. `ema` chooses the averaged weights of a file or the plain ones (None: as published),
    as does the setting ``vim_base[ema=false]``; `kernel` chooses the selective scan. UserError for
    an unknown name or a checkpoint that does not fit.
    """
    from backbones.checkpoints import load, published

    plain, bracket_settings = bracketed(name)
    factory = BACKBONES[plain]
    settings: dict[str, Any] = bracket_settings | overrides
    # It is of the weights, not of the model.
    ema = settings.pop("ema", ema)
    if ema not in (None, True, False):
        raise UserError(f"{plain} cannot take ema={ema}: give true or false")
    # Weights are adapted only in what the caller changed; the number of classes is not part of it.
    changed = frozenset(settings)
    if num_classes is not None:
        settings["classes"] = num_classes
    _check_settings(plain, factory, settings)
    model = _built(plain, factory, settings)
    spelled = with_settings(name, **overrides)
    if checkpoint is not None:
        weights = load.load(checkpoint, model_name=name, ema=ema, names=model.state_dict().keys())
        # The weights' own number of classes, unless the caller chose one.
        own_head = weights.num_classes in (None, model.describe().classes) or "classes" in settings
        if not own_head:
            model = _built(plain, factory, settings | {"classes": weights.num_classes})
        model.provenance = load.apply(model, weights, settings.get("classes"), changed, spelled)
    model.preprocessing = published.usual_preprocessing(spelled) or model.preprocessing
    model.set_kernel(kernel)
    return model.eval()


def _built(name: str, factory: Callable[..., Backbone], settings: dict[str, Any]) -> Backbone:
    """The backbone that `factory` makes; UserError for a plug-in that makes none."""
    from torch import nn

    from backbones.base import Backbone

    origin = BACKBONES.origin(name)
    if origin == "built-in":
        return factory(**settings)
    # calling a module would run it on the settings
    if isinstance(factory, nn.Module) or not callable(factory):
        reason = f"is a {type(factory).__name__}"
    else:
        try:
            signature(factory).bind(**settings)
        except (TypeError, ValueError) as error:
            raise UserError(
                f"backbone '{name}' ({origin}) cannot be made from these settings ({error}): "
                "give those that its function takes"
            ) from error
        try:
            made = factory(**settings)
        except UserError:
            raise
        # a third party's code may raise anything
        except (Exception, SystemExit) as error:
            raise UserError(
                f"backbone '{name}' ({origin}) fails with {type(error).__name__}: "
                f"{' '.join(str(error).split())[:200]}: fix or uninstall it"
            ) from error
        if isinstance(made, Backbone):
            return made
        reason = f"makes a {type(made).__name__}"
    raise UserError(
        f"backbone '{name}' ({origin}) {reason}: "
        "register a function that returns a backbones.base.Backbone"
    )


def _check_settings(name: str, factory: Callable[..., Backbone], settings: dict[str, Any]) -> None:
    """UserError for settings that `factory` does not take, or whose weights fill the memory."""
    import torch

    if not settings:
        return
    try:
        # On the meta device a model of any size is built at once, without memory for its weights.
        with torch.device("meta"):
            parameters = list(_built(name, factory, settings).parameters())
    except TypeError as error:
        raise UserError(
            f"{name} cannot take these settings ({error}): leave out what it does not know"
        ) from error
    # in fp32
    size = 4 * sum(parameter.numel() for parameter in parameters)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory // 2:
        listed = ", ".join(f"{key}={value}" for key, value in settings.items())
        raise UserError(
            f"{name} with {listed} has {size >> 20:,} MB of weights, "
            f"on a machine of {memory >> 20:,} MB: use less"
        )

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
from typing import TYPE_CHECKING, Any, NamedTuple

from backbones.common.errors import UserError, describe_error
from backbones.common.naming import bracketed, with_settings, without
from backbones.common.registry import ADDED, BUILT_IN, Registry
from backbones.common.user_files import digest, in_file, load, source_digest
from backbones.models.sizes import FAMILIES

if TYPE_CHECKING:
    from backbones.base import Backbone

Factory = Callable[..., "Backbone"]
WEIGHTS = "weights"  # the setting that names a file for one backbone alone


def _create_builtin(family: str, name: str, /, **settings: Any) -> Backbone:
    # imported on first use: listing names must not wait for torch
    return import_module(f"backbones.models.{family}").create(name, **settings)


_FACTORIES = {
    name: partial(_create_builtin, family, name)
    for family, configs in FAMILIES.items()
    for name in configs
}
BACKBONES: Registry[Factory] = Registry("backbone", _FACTORIES, "suite.backbones")


class Source(NamedTuple):
    """Where a backbone comes from: the function that makes it, and whose code that is.

    ``called``  its name
    ``origin``  built-in, added, the target of a plug-in, or a file
    ``code``    hash of the file of its code; None of the suite's own
    ``mend``    what to do where it fails
    """

    factory: Factory
    called: str
    origin: str
    code: str | None = None
    mend: str = "fix or uninstall it"


def find(name: str) -> Source:
    """The backbone registered as `name`, or the one that ``path/to/file.py:NAME`` points at."""
    if named := in_file(name):
        return Source(load(named), named.variable, named.file, digest(named), "correct the file")
    factory, origin = BACKBONES[name], BACKBONES.origin(name)
    code = None if origin in (BUILT_IN, ADDED) else source_digest(factory)
    return Source(factory, name, origin, code)


def own_weights(name: str) -> tuple[str, str | None]:
    """Split ``vim_nano[weights=FILE]`` into the name without that setting, and FILE or None.

    A user's function that takes such a setting itself gets it. UserError for a value that cannot be
    a file.
    """
    bare, value = without(name, WEIGHTS)
    if value is None or _takes(find(bracketed(name)[0]).factory, WEIGHTS):
        return name, None
    if not isinstance(value, str):
        raise UserError(f"'{name}': {value} is no file of weights: write its path, such as ./FILE")
    return bare, value


def _takes(factory: Factory, setting: str) -> bool:
    """Whether a function names `setting` among its parameters."""
    try:
        return setting in signature(factory).parameters
    except (TypeError, ValueError):  # nothing that can be called, which is said later
        return False


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
    `overrides` are such settings, too. ``path/to/file.py:NAME`` is one of a user's file, whose
    variable holds the function or class that makes it. The setting ``vim_nano[weights=FILE]`` is a
    checkpoint of this backbone alone, before any other. `checkpoint` is a path, ``hf://owner/repo/file``,
    ``official`` (the published file) or ``bundled``; None leaves the initial random weights. The
    model's ``provenance`` says what was loaded. Without `num_classes` the head has as many as the
    weights'. `ema` chooses the averaged weights of a file or the plain ones (None: as published),
    as does the setting ``vim_base[ema=false]``; `kernel` chooses the selective scan. UserError for
    an unknown name or a checkpoint that does not fit.
    """
    from backbones.checkpoints import load, published

    name, own = own_weights(name)
    checkpoint = own or checkpoint
    plain, bracket_settings = bracketed(name)
    source = find(plain)
    settings: dict[str, Any] = bracket_settings | overrides
    # It is of the weights, not of the model.
    ema = settings.pop("ema", ema)
    if ema not in (None, True, False):
        raise UserError(f"{plain} cannot take ema={ema}: give true or false")
    # Weights are adapted only in what the caller changed; the number of classes is not part of it.
    changed = frozenset(settings)
    if num_classes is not None:
        settings["classes"] = num_classes
    _check_settings(source, settings)
    model = _built(source, settings)
    spelled = with_settings(name, **overrides)
    if checkpoint is not None:
        weights = load.load(checkpoint, model_name=name, ema=ema, names=model.state_dict().keys())
        # The weights' own number of classes, unless the caller chose one.
        own_head = weights.num_classes in (None, model.describe().classes) or "classes" in settings
        if not own_head:
            model = _built(source, settings | {"classes": weights.num_classes})
        model.provenance = load.apply(model, weights, settings.get("classes"), changed, spelled)
    model.preprocessing = published.usual_preprocessing(spelled) or model.preprocessing
    model.set_kernel(kernel)
    return model.eval()


def without_weights(name: str) -> Backbone:
    """Create a backbone for its sizes alone: of any size it takes no memory and no time."""
    from backbones.common.shapes_alone import shapes_alone

    with shapes_alone():
        return create_model(name)


def _built(source: Source, settings: dict[str, Any]) -> Backbone:
    """The backbone that a function makes; UserError for one of a third party that makes none."""
    from torch import nn

    from backbones.base import Backbone

    factory = source.factory
    if source.origin == BUILT_IN:
        return factory(**settings)
    who = f"backbone '{source.called}' ({source.origin})"
    mend = "give a function that returns a backbones.base.Backbone"
    # calling a module would run it on the settings
    if isinstance(factory, nn.Module) or not callable(factory):
        raise UserError(f"{who} is a {type(factory).__name__}: {mend}")
    try:
        signature(factory).bind(**settings)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{who} cannot be made from these settings ({error}): "
            "give those that its function takes"
        ) from error
    try:
        made = factory(**settings)
        if not isinstance(made, Backbone):
            raise UserError(f"{who} makes a {type(made).__name__}: {mend}")
        made.name, made.code = source.called, source.code
        problem = _problem(made)
    except UserError:
        raise
    # a third party's code may raise anything
    except (Exception, SystemExit) as error:
        raise UserError(f"{who} cannot be made ({describe_error(error)}): {source.mend}") from error
    if problem:
        raise UserError(f"{who} {problem}: {source.mend}")
    return made


def _problem(made: Backbone) -> str:
    """What a backbone says of itself that cannot be; empty if nothing is wrong."""
    from backbones.sequence import TRACE_FIELDS
    from backbones.shape import Shape

    missing = [name for name in ("image_size", "provides") if not hasattr(made, name)]
    if missing:
        return f"has no {' and no '.join(missing)}"
    if unknown := set(made.provides) - TRACE_FIELDS:
        return (
            f"provides {', '.join(sorted(unknown))}, and a trace has "
            f"{', '.join(sorted(TRACE_FIELDS))}"
        )
    shape = made.describe()
    if not isinstance(shape, Shape):
        return f"describes itself by a {type(shape).__name__}, no backbones.shape.Shape"
    if (len(made.blocks), len(made.special_places)) != (shape.depth, shape.specials):
        return (
            f"has {len(made.blocks)} blocks and {len(made.special_places)} special tokens, and its "
            f"describe() says {shape.depth} and {shape.specials}"
        )
    return ""


def _check_settings(source: Source, settings: dict[str, Any]) -> None:
    """UserError for settings that a backbone does not take, or whose weights fill the memory."""
    from backbones.common.shapes_alone import shapes_alone

    if not settings:
        return
    try:
        with shapes_alone():
            parameters = list(_built(source, settings).parameters())
    except TypeError as error:
        raise UserError(
            f"{source.called} cannot take these settings ({error}): leave out what it does not know"
        ) from error
    # in fp32
    size = 4 * sum(parameter.numel() for parameter in parameters)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory // 2:
        listed = ", ".join(f"{key}={value}" for key, value in settings.items())
        raise UserError(
            f"{source.called} with {listed} has {size >> 20:,} MB of weights, "
            f"on a machine of {memory >> 20:,} MB: use less"
        )

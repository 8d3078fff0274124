"""Vision Mamba backbones and an attention control: models, scan kernels, checkpoints; no methods, no data sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backbones.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from backbones.base import Backbone

_BUILTIN = {
    "vim": ("vim_tiny", "vim_small", "vim_base", "vim_tiny_stride8", "vim_small_stride8", "vim_nano"),
    "videomamba": ("videomamba_tiny", "videomamba_small", "videomamba_middle", "videomamba_base", "videomamba_nano"),
    "videomamba_video": ("videomamba_tiny_video", "videomamba_small_video", "videomamba_middle_video"),
    "mambareg": ("mambareg_tiny", "mambareg_small", "mambareg_base", "mambareg_large"),
    "vit": ("deit_tiny", "deit_small", "deit_base", "vit_tiny", "vit_small", "vit_base", "deit_nano"),
}

BACKBONES: Registry[Callable[..., Backbone]] = Registry(
    "backbone",
    {name: f"backbones.{module}:{name}" for module, names in _BUILTIN.items() for name in names},
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

    `checkpoint` is a path, ``hf://owner/repo/file`` or ``bundled``; None leaves the initial random weights. What was
    loaded is in the model's ``provenance``. `ema` chooses the averaged weights by name (None: as published),
    `kernel` the selective scan; `overrides` are fields of the model's configuration (``image_size=...``).
    Raises UserError for an unknown name or a checkpoint that does not fit.
    """
    from backbones import checkpoints

    factory = BACKBONES[name]
    if num_classes is not None:
        overrides["classes"] = num_classes
    model = factory(**overrides)
    model.set_kernel(kernel)
    if checkpoint is not None:
        weights = checkpoints.load(checkpoint, model_name=name, ema=ema)
        checkpoints.apply(model, weights, num_classes)
        model.provenance = weights.provenance
    return model.eval()

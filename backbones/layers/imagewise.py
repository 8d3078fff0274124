"""Convolutions whose result for an image does not depend on how many images stand beside it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def imagewise(layer: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """`layer` on images (B, C, H, W); without gradients, on a CPU, each image's bits are its own.

    There oneDNN convolves one image on another path than several, and takes strides of a lone image
    for another layout: it is given plain rows, and an image alone twice.
    """
    if images.device.type != "cpu" or torch.is_grad_enabled():
        return layer(images)
    plain = images.contiguous()
    return layer(plain) if len(images) > 1 else layer(torch.cat([plain, plain]))[:1]

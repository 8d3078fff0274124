"""Sliding windows: logits of an image that is larger than what a segmenter takes at once.

As OpenMMLab's MMSegmentation does it: windows of one size, the last of a row or column moved
inwards to end with the image; logits are averaged where windows overlap.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from backbones.common.errors import UserError
from backbones.dense.heads import resized


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """First pixels of the windows along one side, which cover all of its `length` pixels.

    UserError unless 1 <= `stride` <= `window`, since a longer step would leave pixels out.
    """
    if not 1 <= stride <= window:
        raise UserError(
            f"windows of {window} pixels cannot be moved by {stride}: use a stride from 1 to "
            f"{window}"
        )
    last = max(length - window, 0)
    return [*range(0, last, stride), last]


def sliding(
    logits_of: Callable[[Tensor], Tensor], images: Tensor, window: int, stride: int
) -> Tensor:
    """Logits (B, K, H, W) at all pixels of images (B, 3, H, W), from windows of them.

    `logits_of` maps images (B, 3, h, w) to logits (B, K, h', w'), which are interpolated to h x w;
    of an image that is narrower or lower than the window it gets what there is.
    """
    height, width = images.shape[2:]
    total = torch.zeros(0)
    count = images.new_zeros(height, width)
    for top in window_starts(height, window, stride):
        for left in window_starts(width, window, stride):
            rows, columns = slice(top, top + window), slice(left, left + window)
            part = images[:, :, rows, columns]
            logits = resized(logits_of(part), part.shape[2:])
            if not total.numel():
                total = logits.new_zeros(*logits.shape[:2], height, width)
            total[:, :, rows, columns] += logits
            count[rows, columns] += 1
    return total / count

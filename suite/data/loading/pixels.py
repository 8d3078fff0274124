"""From pixels to what a model takes: resize, normalise, channels first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def resize(canvas: NDArray[np.uint8], image_size: int) -> NDArray[np.uint8]:
    """`canvas` (B, H, W, 3) at (B, S, S, 3): bilinear, filtered when shrinking; untouched if it has that size."""
    if canvas.shape[1:3] == (image_size, image_size):
        return canvas
    shape = (image_size, image_size)
    resized = [
        np.asarray(Image.fromarray(image).resize(shape, Image.Resampling.BILINEAR))
        for image in canvas
    ]
    return np.stack(resized) if resized else np.empty((0, *shape, 3), np.uint8)


def normalise(
    canvas: NDArray[np.uint8], mean: Sequence[float], std: Sequence[float]
) -> NDArray[np.float32]:
    """(pixel / 255 - mean) / std per channel, (B, H, W, 3) to (B, 3, H, W), contiguous."""
    levels = np.arange(256, dtype=np.float32) / np.float32(255)
    result = np.empty((canvas.shape[0], 3, *canvas.shape[1:3]), np.float32)
    for channel in range(3):
        table = (levels - np.float32(mean[channel])) / np.float32(std[channel])
        result[:, channel] = table[canvas[..., channel]]
    return result

"""From pixels to a model's input: resize, normalise, channels first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from suite.data.base import Pixels, Samples, Truth


def resize(canvas: Pixels, image_size: int) -> Pixels:
    """Resize (B, H, W, 3) to (B, S, S, 3): bilinear, with antialiasing when shrinking."""
    if canvas.shape[1:3] == (image_size, image_size):
        return canvas
    resized = np.empty((len(canvas), image_size, image_size, 3), np.uint8)
    for row, image in enumerate(canvas):
        picture = Image.fromarray(image)
        resized[row] = np.asarray(
            picture.resize((image_size, image_size), Image.Resampling.BILINEAR)
        )
    return resized


def nearest_pixels(truth: Truth, image_size: int) -> Truth:
    """Resize (B, H, W) to (B, S, S): each pixel is the one that its centre falls into.

    Classes cannot be mixed, as colours are.
    """
    height, width = truth.shape[1:]
    if (height, width) == (image_size, image_size):
        return truth
    centres = 2 * np.arange(image_size) + 1  # in half pixels
    rows = centres * height // (2 * image_size)
    columns = centres * width // (2 * image_size)
    return truth[:, rows[:, None], columns]


def normalise(canvas: Pixels, mean: Sequence[float], std: Sequence[float]) -> Samples:
    """(pixel / 255 - mean) / std per channel, (B, H, W, 3) to (B, 3, H, W), contiguous."""
    levels = np.arange(256, dtype=np.float32) / np.float32(255)
    result = np.empty((canvas.shape[0], 3, *canvas.shape[1:3]), np.float32)
    for channel in range(3):
        # A table of the 256 possible values: faster than arithmetic on every pixel.
        table = (levels - np.float32(mean[channel])) / np.float32(std[channel])
        result[:, channel] = table[canvas[..., channel]]
    return result

"""A user's images as training reads them: shrunken once into a file, cropped anew each epoch."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torchvision.transforms import InterpolationMode, v2

from suite.data.base import Dataset, IntArray, Pixels
from suite.data.loading.preprocess import Photographs
from suite.system.atomic_files import replacing
from suite.training.augment import seed_of

AT_ONCE = 64  # pictures that are decoded together, and lie in memory


@dataclass(frozen=True)
class Pictures:
    """Square pictures ``pixels`` (N, R, R, 3), shown at ``size`` S pixels.

    ``labels``         (N,) classes
    ``mean``, ``std``  of the pixels in 0..1, by channel, that the model's input is normalised by
    ``smallest_crop``  least share of the area that the random crop of an epoch keeps; 1: all
                       epochs show the centre, as evaluation does
    """

    pixels: Pixels
    labels: IntArray
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    size: int
    smallest_crop: float = 1.0
    seed: int = 0

    def render(self, indices: IntArray, variant: int = 0) -> Pixels:
        """Pictures (B, S, S, 3): their centres as `variant` 0, else crops, each variant others."""
        if not variant or self.smallest_crop == 1:
            start = (self.pixels.shape[1] - self.size) // 2
            centre = slice(start, start + self.size)
            return np.array(self.pixels[indices, centre, centre])
        scale = (self.smallest_crop, 1.0)
        bicubic = InterpolationMode.BICUBIC
        crop = v2.RandomResizedCrop(self.size, scale=scale, interpolation=bicubic, antialias=True)
        crops = np.empty((len(indices), self.size, self.size, 3), np.uint8)
        # The global generator is the training loop's own, in a run without workers.
        with torch.random.fork_rng(devices=[]):
            for place, index in enumerate(indices.tolist()):
                # `torch.manual_seed` would seed those of all GPUs, too, and note the stack.
                torch.default_generator.manual_seed(seed_of(self.seed, variant, index))
                picture = torch.from_numpy(np.array(self.pixels[index])).permute(2, 0, 1)
                crops[place] = crop(picture).permute(1, 2, 0).numpy()
        return crops


def shrunken(dataset: Dataset, indices: IntArray, size: int, file: Path) -> Pixels:
    """The pictures at `indices`, square and small, (N, R, R, 3), mapped from `file`.

    They are written there first unless it exists: resized as evaluation at `size` pixels resizes
    them, of which R is the short side, and cut to the square in the middle.
    """
    if not file.is_file():
        side = size
        if isinstance(dataset, Photographs):
            side = min(dataset.preprocess.resized_size(size, size, size))
        with replacing(file) as temporary:
            shape = (len(indices), side, side, 3)
            pixels = open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
            for place, picture in enumerate(_decoded(dataset, indices, size)):
                pixels[place] = picture
            pixels.flush()
            del pixels
    mapped: Pixels = np.load(file, mmap_mode="r")
    return mapped


def _decoded(dataset: Dataset, indices: IntArray, size: int) -> Iterator[Pixels]:
    """Square pictures one by one; Pillow releases the GIL while it decodes."""

    def one(index: int) -> Pixels:
        # Data of other kinds know only how a model sees an image.
        if not isinstance(dataset, Photographs):
            return dataset.view(index, size)
        picture = dataset.image(index)
        rows, columns = picture.shape[:2]
        width, height = dataset.preprocess.resized_size(rows, columns, size)
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        resized = dataset.preprocess.resized(picture, (width, height))
        return resized[top : top + side, left : left + side]

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(indices), AT_ONCE):
            yield from pool.map(one, indices[start : start + AT_ONCE].tolist())

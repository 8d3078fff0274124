"""Training images: fresh variants of a data set, a batch at a time, as bytes that workers can hand over cheaply."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from backbones.common.errors import UserError
from suite.data import open_dataset
from suite.data.base import Dataset
from suite.data.images import clutter
from suite.data.images.sources import Garments
from suite.data.images.tiny_imagenet import CLASS_STEP
from suite.system.atomic_files import replacing

# What is read once, for the card, when a recipe's training is over.
FINAL = {"fashion-clutter": "test"} | dict.fromkeys(CLASS_STEP, "valid")


class TrainingImages(Protocol):
    """What the training loop asks of its data."""

    @property
    def mean(self) -> tuple[float, float, float]:
        """Of the pixels in 0..1, by channel."""
        ...

    @property
    def std(self) -> tuple[float, float, float]:
        """Of the pixels in 0..1, by channel."""
        ...

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class of every image (N,)."""
        ...

    def render(self, indices: NDArray[np.int64], variant: int) -> NDArray[np.uint8]:
        """Images (B, H, W, 3); each `variant` is another view of the same sources, 0 the data set as evaluated."""
        ...


@dataclass(frozen=True)
class ClutterImages:
    """`fashion-clutter`: every variant puts the garment on a new canvas."""

    garments: Garments
    mean: tuple[float, float, float] = clutter.MEAN
    std: tuple[float, float, float] = clutter.STD

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class of every garment."""
        return self.garments.labels

    def render(self, indices: NDArray[np.int64], variant: int = 0) -> NDArray[np.uint8]:
        """Canvases (B, 56, 56, 3)."""
        return clutter.render(self.garments, indices, variant)[0]


@dataclass(frozen=True)
class Photographs:
    """Pictures of one size, decoded: ``pixels`` (N, H, W, 3). A variant is the picture itself, yet to be augmented."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def render(self, indices: NDArray[np.int64], variant: int = 0) -> NDArray[np.uint8]:
        """A copy of the pictures at `indices`."""
        chosen: NDArray[np.uint8] = self.pixels[indices]
        return chosen


def decoded(dataset: Dataset, cache: Path | None = None) -> Photographs:
    """All pictures of `dataset`, read from the folder `cache` if it holds them, else left there for the next time."""
    path = cache / f"{dataset.split}-{dataset.manifest()['hash'][:16]}.npy" if cache else None
    if path is not None and path.is_file():
        return Photographs(np.load(path), dataset.labels, dataset.mean, dataset.std)
    with ThreadPoolExecutor() as pool:
        images = list(pool.map(dataset.image, range(len(dataset))))
    shapes = sorted({image.shape for image in images})
    if len(shapes) > 1:
        raise UserError(
            f"{dataset.name} has pictures of {len(shapes)} sizes: training takes those of one size"
        )
    pixels = np.stack(images)
    if path is not None:
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, pixels)
    return Photographs(pixels, dataset.labels, dataset.mean, dataset.std)


def training_images(
    dataset: str, split: str, folder: str | None, cache: Path | None = None
) -> TrainingImages:
    """The images of `dataset` for training or scoring; UserError for a data set without a training form.

    `folder` holds the sources; decoded pictures are kept in `cache`.
    """
    if dataset == "fashion-clutter":
        return ClutterImages(clutter.open_garments(split, folder or "full"))
    if dataset not in CLASS_STEP:
        known = ", ".join(FINAL)
        raise UserError(f"there is no training form of '{dataset}': recipes train on {known}")
    if folder is None:
        raise UserError(
            f"{dataset} does not come with the suite: name the folder of its Parquet files with --source"
        )
    return decoded(open_dataset(f"{dataset}:{folder}", split), cache)

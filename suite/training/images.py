"""Training images: fresh variants of a data set, as bytes that workers can hand over cheaply."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backbones.common.errors import UserError
from suite.data import open_dataset
from suite.data.base import Dataset, IntArray, Pixels, digest
from suite.data.images import clutter
from suite.data.images.sources import Garments
from suite.data.images.tiny_imagenet import CLASS_STEP
from suite.data.loading.preprocess import Photographs
from suite.system.atomic_files import replacing
from suite.training.pictures import Pictures

# By data set the split that is read once, for the card, when the training is over.
FINAL = {"fashion-clutter": "test"} | dict.fromkeys(CLASS_STEP, "valid")


@dataclass(frozen=True)
class ClutterImages:
    """`fashion-clutter`: every variant puts the garment on a new canvas.

    ``mean`` and ``std`` are those of the pixels in 0..1, by channel.
    """

    garments: Garments
    mean: tuple[float, float, float] = clutter.MEAN
    std: tuple[float, float, float] = clutter.STD

    @property
    def labels(self) -> IntArray:
        """Class of every garment."""
        return self.garments.labels

    def render(self, indices: IntArray, variant: int = 0) -> Pixels:
        """Canvases (B, 56, 56, 3); `variant` 0 is the data set as evaluated."""
        return clutter.render(self.garments, indices, variant)[0]


@dataclass(frozen=True)
class DecodedImages:
    """Decoded pictures of one size, ``pixels`` (N, H, W, 3); variants differ by augmentation."""

    pixels: Pixels
    labels: IntArray
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def render(self, indices: IntArray, variant: int = 0) -> Pixels:
        """A copy of the pictures at `indices`."""
        chosen: Pixels = self.pixels[indices]
        return chosen


@dataclass(frozen=True)
class SomeImages:
    """The training images ``rows`` of `whole`, in that order."""

    whole: ClutterImages
    rows: IntArray

    @property
    def labels(self) -> IntArray:
        """Class of each image."""
        return self.whole.labels[self.rows]

    @property
    def mean(self) -> tuple[float, float, float]:
        """Mean of the pixels in 0..1, by channel."""
        return self.whole.mean

    @property
    def std(self) -> tuple[float, float, float]:
        """Their standard deviation."""
        return self.whole.std

    def render(self, indices: IntArray, variant: int = 0) -> Pixels:
        """Images (B, H, W, 3), as `whole` renders them."""
        return self.whole.render(self.rows[indices], variant)


TrainingImages = ClutterImages | SomeImages | DecodedImages | Pictures


def decode_all(dataset: Dataset, cache: Path | None = None) -> DecodedImages:
    """All pictures of `dataset`, from a file in the folder `cache` if it has one, else saved there.

    UserError unless the pictures have one size.
    """
    path = None
    if cache:
        # Named by the manifest and the files' times, so that others are never taken for these.
        files: list[str] = []
        if isinstance(dataset, Photographs):
            files = [dataset.stamp(index) for index in range(len(dataset))]
        path = cache / f"{dataset.split}-{digest([dataset.manifest(), files])[:16]}.npy"
    if path is not None and path.is_file():
        return DecodedImages(np.load(path), dataset.labels, dataset.mean, dataset.std)
    # Pillow releases the GIL while it decodes.
    with ThreadPoolExecutor() as pool:
        images = list(pool.map(dataset.image, range(len(dataset))))
    shapes = {image.shape for image in images}
    if len(shapes) > 1:
        raise UserError(
            f"{dataset.name} has pictures of {len(shapes)} sizes: training takes those of one size"
        )
    pixels = np.stack(images)
    if path is not None:
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, pixels)
    return DecodedImages(pixels, dataset.labels, dataset.mean, dataset.std)


def training_images(
    dataset: str, split: str, folder: str | None, cache: Path | None = None
) -> TrainingImages:
    """The images of `dataset` for training or scoring.

    `folder` has the sources; decoded pictures are kept in `cache`. UserError for a data set that no
    recipe trains on.
    """
    if dataset == "fashion-clutter":
        return ClutterImages(clutter.open_garments(split, folder or "full"))
    if dataset not in CLASS_STEP:
        names = ", ".join(FINAL)
        raise UserError(f"there is no training form of '{dataset}': recipes train on {names}")
    if folder is None:
        raise UserError(
            f"{dataset} does not come with the suite: "
            f"name the folder of its Parquet files with --source"
        )
    return decode_all(open_dataset(f"{dataset}:{folder}", split), cache)

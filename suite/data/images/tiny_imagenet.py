"""`tiny-imagenet:PATH`: Tiny-ImageNet in Parquet, whole or a quarter of its classes, with a `dev` split of its own.

200 classes of ImageNet at 64x64 (Le and Yang 2015): 500 training and 50 validation images a class. PATH is read as
``parquet:PATH`` reads it, with the splits `train` and `valid`. `dev` is 5,000 training images held out of `train`,
stratified: for every default, choice and ablation; `valid` is for comparisons and findings. ``tiny-imagenet-50`` has
every fourth class, numbered anew, so that a small model can learn it; its `dev` is the part of `dev` in those classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbones.common.errors import UserError
from backbones.common.registry import nearest
from backbones.preprocessing import WHOLE
from suite.data.base import Manifest, Request, check_index, digest
from suite.data.images.parquet import ParquetImages, find_files
from suite.data.loading.preprocess import Photographs, asked_of
from suite.data.subset import stratified

NAME, QUARTER = "tiny-imagenet", "tiny-imagenet-50"
CLASSES, EVERY = 200, {NAME: 1, QUARTER: 4}
HELD_OUT = 0.05  # of the training images: 25 of the 500 of every class
SPLITS = ("train", "dev", "valid")
ALIASES = {"val": "valid", "validation": "valid", "test": "valid"}


class TinyImagenet(Photographs):
    """The `rows` (N,) of `source` whose label is a multiple of `every`, labels divided by it."""

    def __init__(
        self,
        name: str,
        split: str,
        source: ParquetImages,
        rows: NDArray[np.int64],
        asked: dict[str, Any],
    ) -> None:
        every = EVERY[name]
        self.name, self.split = name, split
        self.source = source
        self.rows = rows[source.labels[rows] % every == 0]
        self.labels = source.labels[self.rows] // every
        self.classes = source.classes[::every]
        self.prepare(WHOLE, asked)

    def image(self, index: int) -> NDArray[np.uint8]:
        """The picture, (64, 64, 3)."""
        return self.source.image(int(self.rows[check_index(index, len(self))]))

    def sample(self, index: int, image_size: int) -> NDArray[np.float32]:
        """The picture resized, if it has another size, and normalised."""
        return self.preprocess(self.image(index), image_size)

    def identity(self) -> Manifest:
        """The files, which rows of them, and the preprocessing."""
        return {
            "files": self.source.identity()["files"],
            "rows": digest(self.rows.tolist()),
            "preprocess": self.preprocess.identity(),
        }


def split_rows(labels: NDArray[np.int64], split: str) -> NDArray[np.int64]:
    """Rows of the files that make up `split`; `labels` are those of the training files for `train` and `dev`."""
    every = np.arange(len(labels))
    if split == "valid":
        return every
    held_out = stratified(labels, max(1, round(HELD_OUT * len(labels))))
    return held_out if split == "dev" else np.setdiff1d(every, held_out)


def open_tiny_imagenet(request: Request, name: str = NAME) -> TinyImagenet:
    """Open ``tiny-imagenet:PATH``; the usual split is `valid`, which also answers to `val` and `test`."""
    if request.path is None:
        raise UserError(f"{name} needs the folder of its Parquet files: write {name}:PATH")
    split = ALIASES.get(request.split or "valid", request.split or "valid")
    if split not in SPLITS:
        raise UserError(f"no split '{split}': {nearest(split, SPLITS)}")
    files, stored = find_files(
        Path(request.path).expanduser(), "valid" if split == "valid" else "train"
    )
    source = ParquetImages(stored, files)
    if len(source.classes) != CLASSES:
        raise UserError(
            f"{request.path} has {len(source.classes)} classes, not Tiny-ImageNet's {CLASSES}: use parquet: for others"
        )
    return TinyImagenet(name, split, source, split_rows(source.labels, split), asked_of(request))


def open_quarter(request: Request) -> TinyImagenet:
    """Open ``tiny-imagenet-50:PATH``: the classes 0, 4, 8, ... of ``tiny-imagenet``."""
    return open_tiny_imagenet(request, QUARTER)

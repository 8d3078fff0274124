"""`tiny-imagenet:PATH`: Tiny-ImageNet in Parquet, whole or a quarter of its classes.

200 classes of ImageNet at 64x64 (Le and Yang 2015): 500 training and 50 validation images a class,
in the splits `train` and `valid`. `dev` is 5,000 training images held out of `train`, stratified,
for every default, choice and ablation; `valid` is for comparisons and findings. PATH is read as
``parquet:PATH`` reads it. ``tiny-imagenet-50`` has every fourth class, numbered anew, so that a
small model can learn it; its `dev` is the part of `dev` in those classes.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Self

import numpy as np

from backbones.common.errors import UserError
from backbones.common.paths import local_path
from backbones.common.registry import nearest
from backbones.preprocessing import WHOLE
from suite.data.base import IntArray, Request, digest
from suite.data.images.parquet import ParquetImages, find_files
from suite.data.loading.preprocess import Photographs, overrides_in
from suite.data.subset import stratified

CLASSES = 200
# Of every data set, the step from one of its classes to the next.
CLASS_STEP = {"tiny-imagenet": 1, "tiny-imagenet-50": 4}
HELD_OUT = 0.05  # of the training images: 25 of the 500 of every class
SPLITS = ("train", "dev", "valid")
# The labels of Tiny-ImageNet's own test split were never published.
ALIASES = {"val": "valid", "validation": "valid", "test": "valid"}


class TinyImagenet(Photographs):
    """The `rows` (N,) of `source` in the classes of data set `name`."""

    def __init__(
        self,
        name: str,
        split: str,
        source: ParquetImages,
        rows: IntArray,
        overrides: dict[str, Any],
    ) -> None:
        step = CLASS_STEP[name]
        self.name, self.split = name, split
        self.source = source
        self.rows = rows[source.labels[rows] % step == 0]
        self.labels = source.labels[self.rows] // step
        self.classes = source.classes[::step]
        # A crop would cut into objects that fill the small picture.
        self.prepare(WHOLE, overrides)

    @property
    def folder(self) -> Path:
        """The folder of the files."""
        return self.source.folder

    def fetch(self, index: int) -> tuple[bytes, str, str]:
        """The bytes of a picture, (64, 64, 3), file and row, and a stamp of both."""
        return self.source.fetch(int(self.rows[index]))

    def stamp(self, index: int) -> str:
        """The present stamp of file and row."""
        return self.source.stamp(int(self.rows[index]))

    def reordered(self, order: IntArray) -> Self:
        """The same pictures under other numbers."""
        other = copy.copy(self)
        other.rows, other.labels = self.rows[order], self.labels[order]
        return other

    def listing(self) -> str:
        """Hash of the files, and of the rows of them."""
        return digest([self.source.listing(), self.rows.tolist()])


def split_rows(labels: IntArray, split: str) -> IntArray:
    """Rows of the files that make up `split`.

    `labels` are those of the training files for `train` and `dev`.
    """
    rows = np.arange(len(labels))
    if split == "valid":
        return rows
    held_out = stratified(labels, max(1, round(HELD_OUT * len(labels))))
    return held_out if split == "dev" else np.setdiff1d(rows, held_out)


def open_tiny_imagenet(request: Request, name: str = "tiny-imagenet") -> TinyImagenet:
    """Open ``tiny-imagenet:PATH``; the usual split is `valid`, also called `val` and `test`."""
    if request.path is None:
        raise UserError(f"{name} needs the folder of its Parquet files: write {name}:PATH")
    split = request.split or "valid"
    split = ALIASES.get(split, split)
    if split not in SPLITS:
        raise UserError(f"no split '{split}': {nearest(split, SPLITS)}")
    # `dev` is a part of the training files.
    stored_split = "valid" if split == "valid" else "train"
    files, stored_split = find_files(local_path(request.path), stored_split)
    source = ParquetImages(stored_split, files, {})
    if len(source.classes) != CLASSES:
        raise UserError(
            f"{request.path} has {len(source.classes)} classes, not Tiny-ImageNet's {CLASSES}: "
            f"use parquet: for others"
        )
    rows = split_rows(source.labels, split)
    return TinyImagenet(name, split, source, rows, overrides_in(request))


def open_quarter(request: Request) -> TinyImagenet:
    """Open ``tiny-imagenet-50:PATH``: the classes 0, 4, 8, ... of ``tiny-imagenet``."""
    return open_tiny_imagenet(request, "tiny-imagenet-50")

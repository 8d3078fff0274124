"""The garments of `fashion-clutter` and `fashion-mnist`, and their division into splits.

Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, arXiv 1708.07747): 60,000 training and 10,000 test
photographs of garments, 28x28 grey. `dev` is 5,000 stratified training garments held out of
`train`; 1,000 of them and 2,000 of the test garments, stratified, are bundled. A full `dev` or
`test` begins with the bundled garments, so an index below 1,000 or 2,000 is the same garment, and
the same image, with and without the full source. `unbundled` are the other 8,000 test garments, for
a reading of images that nobody has chosen by.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backbones.common.errors import UserError
from backbones.common.registry import nearest
from suite.data.base import IntArray, Pixels
from suite.data.subset import stratified

SIDE = 28
ATLAS_COLUMNS = 40
SPLITS = ("train", "dev", "test")
UNBUNDLED = "unbundled"
CLASSES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
ASSETS = files("suite.data") / "assets" / "fashion-mnist"


@dataclass(frozen=True)
class Sizes:
    """Number of garments held out of training, and bundled of each split."""

    held_out: int = 5000
    dev: int = 1000
    test: int = 2000


PUBLISHED = Sizes()


@dataclass(frozen=True)
class Garments:
    """The garments of one split, in the split's order.

    ``images`` (N, 28, 28) uint8; ``labels`` (N,) int64; ``source`` (N,) int64, the index of each
    in the original training file (`train`, `dev`) or test file; ``pool`` (P,) int64, the rows that
    distractors are cut from: for `dev` and `test` the bundled ones, so that the full source draws
    the same images.
    """

    split: str
    images: Pixels
    labels: IntArray
    source: IntArray
    pool: IntArray

    def checksum(self) -> str:
        """SHA-256 over pixels, labels, indices in the original file, and the pool."""
        return self._checksum(self.images, self.labels, self.source, self.pool)

    def checksum_of(self, rows: IntArray) -> str:
        """SHA-256 of what some images show: the garments at `rows`, and the pool's.

        It is the same whether the garments are the bundled ones or the full source.
        """
        pool = self.pool
        own = self.images[rows], self.labels[rows], self.source[rows]
        return self._checksum(*own, self.images[pool], self.source[pool])

    def _checksum(self, *arrays: NDArray[Any]) -> str:
        total = hashlib.sha256(self.split.encode())
        for array in arrays:
            total.update(array.tobytes())
        return total.hexdigest()


def check_split(split: str) -> str:
    """`split` if Fashion-MNIST has it; UserError otherwise."""
    known = (*SPLITS, UNBUNDLED)
    if split not in known:
        raise UserError(f"no split '{split}': {nearest(split, known)}")
    return split


def split_rows(labels: IntArray, split: str, sizes: Sizes = PUBLISHED) -> IntArray:
    """Rows of the original file that make up `split`, in the split's order.

    `labels` are those of the training file for `train` and `dev`, of the test file for `test`.
    """
    rows = np.arange(len(labels))
    if split == "test":
        members, bundled_count = rows, sizes.test
    else:
        members, bundled_count = stratified(labels, sizes.held_out), sizes.dev
        if split == "train":
            return np.setdiff1d(rows, members)
    # The bundled garments come first, sorted, then the others, sorted.
    front = members[stratified(labels[members], bundled_count)]
    return np.concatenate([front, np.setdiff1d(members, front)])


def from_arrays(images: Pixels, labels: Pixels, split: str, sizes: Sizes = PUBLISHED) -> Garments:
    """The garments of `split` from the arrays of its original file."""
    file_labels = labels.astype(np.int64)
    rows = split_rows(file_labels, split, sizes)
    pool = {"train": len(rows), "dev": sizes.dev, "test": sizes.test}[split]
    return Garments(split, images[rows], file_labels[rows], rows, np.arange(pool))


def without_bundled(test: Garments, sizes: Sizes = PUBLISHED) -> Garments:
    """The garments of a full `test` but the bundled ones, of which distractors are still cut.

    They show the same images as in `test`. Labels are those of the images to be shown alone.
    """
    count = sizes.test
    turned = np.roll(np.arange(len(test.images)), -count)
    labels = test.labels[count:]
    pool = np.arange(len(labels), len(turned))
    return Garments(test.split, test.images[turned], labels, test.source[turned], pool)


@cache
def bundled(split: str) -> Garments:
    """The bundled garments of `dev` or `test`; UserError for `train`, which is not bundled.

    They are read once in a process, and not to be written to.
    """
    if check_split(split) in ("train", UNBUNDLED):
        raise UserError(
            f"the {split} split is not bundled: install Debian's dataset-fashion-mnist, "
            "or give the folder or the download"
        )
    labels, source = [], []
    with (ASSETS / "sources.csv").open(encoding="utf-8") as table:
        for row in csv.DictReader(table):
            if row["split"] == split:
                labels.append(int(row["label"]))
                source.append(int(row["source"]))
    with (ASSETS / f"{split}.png").open("rb") as file, Image.open(file) as atlas:
        pixels = np.asarray(atlas)
    count = len(labels)
    tiles = pixels.reshape(-1, SIDE, ATLAS_COLUMNS, SIDE).swapaxes(1, 2)
    # The last row of the atlas is filled up with black tiles.
    images = tiles.reshape(-1, SIDE, SIDE)[:count].copy()
    return Garments(split, images, np.array(labels), np.array(source), np.arange(count))

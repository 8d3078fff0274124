"""The garments that `fashion-clutter` and `fashion-mnist` are made of, and how they are divided into splits.

Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, arXiv 1708.07747): 60,000 training and 10,000 test
photographs of garments, 28x28 grey. `dev` is 5,000 stratified training garments held out of
`train`; 1,000 of them and 2,000 of the test garments, stratified, are bundled. A full `dev` or
`test` begins with the bundled garments, so an index below 1,000 or 2,000 is the same garment, and
the same image, with and without the full source.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backbones.common.errors import UserError
from backbones.common.registry import nearest
from suite.data.subset import stratified

SIDE = 28
ATLAS_COLUMNS = 40
SPLITS = ("train", "dev", "test")
CLASSES = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
ASSETS = files("suite.data") / "assets" / "fashion-mnist"


@dataclass(frozen=True)
class Sizes:
    """How many garments are held out of training, and how many of each split are bundled."""

    held_out: int = 5000
    dev: int = 1000
    test: int = 2000


@dataclass(frozen=True)
class Garments:
    """The garments of one split, in the split's order.

    ``images`` (N, 28, 28) uint8; ``labels`` (N,) int64; ``source`` (N,) int64, each one's index in the original
    training file (`train`, `dev`) or test file; ``pool`` (P,) int64, the rows that distractors are cut from: for
    `dev` and `test` the bundled ones, so that the full source draws the same images.
    """

    split: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    source: NDArray[np.int64]
    pool: NDArray[np.int64]

    def checksum(self) -> str:
        """SHA-256 over pixels, labels, places in the original file, and the pool."""
        total = hashlib.sha256(self.split.encode())
        for array in (self.images, self.labels, self.source, self.pool):
            total.update(np.ascontiguousarray(array).tobytes())
        return total.hexdigest()


def check_split(split: str) -> str:
    """`split` if Fashion-MNIST has it; UserError otherwise."""
    if split not in SPLITS:
        raise UserError(f"no split '{split}': {nearest(split, SPLITS)}")
    return split


def _bundled_first(
    rows: NDArray[np.int64], labels: NDArray[np.int64], bundled: int
) -> NDArray[np.int64]:
    """`rows` with the `bundled` stratified ones moved to the front; sorted within both parts."""
    front = rows[stratified(labels[rows], bundled)]
    return np.concatenate([front, np.setdiff1d(rows, front)])


def split_rows(
    labels: NDArray[np.int64], split: str, sizes: Sizes | None = None
) -> NDArray[np.int64]:
    """Rows of the original file that make up `split`, in the split's order.

    `labels` are those of the training file for `train` and `dev`, of the test file for `test`.
    """
    sizes = sizes or Sizes()
    every = np.arange(len(labels))
    if split == "test":
        return _bundled_first(every, labels, sizes.test)
    held_out = stratified(labels, sizes.held_out)
    if split == "dev":
        return _bundled_first(held_out, labels, sizes.dev)
    return np.setdiff1d(every, held_out)


def from_arrays(
    images: NDArray[np.uint8], labels: NDArray[np.uint8], split: str, sizes: Sizes | None = None
) -> Garments:
    """The garments of `split` out of the arrays of the original file it comes from."""
    sizes = sizes or Sizes()
    every = labels.astype(np.int64)
    rows = split_rows(every, split, sizes)
    pool = {"train": len(rows), "dev": sizes.dev, "test": sizes.test}[split]
    return Garments(split, images[rows], every[rows], rows, np.arange(pool))


def bundled(split: str) -> Garments:
    """The garments of `dev` or `test` that come with the package; needs neither network nor other files."""
    if check_split(split) == "train":
        raise UserError(
            "the train split is not bundled: install Debian's dataset-fashion-mnist, or give the folder or the download"
        )
    with (ASSETS / "sources.csv").open() as table:
        rows = [row for row in csv.DictReader(table) if row["split"] == split]
    with (ASSETS / f"{split}.png").open("rb") as file, Image.open(file) as atlas:
        pixels = np.asarray(atlas)
    tiles = pixels.reshape(pixels.shape[0] // SIDE, SIDE, ATLAS_COLUMNS, SIDE).swapaxes(1, 2)
    images = tiles.reshape(-1, SIDE, SIDE)[: len(rows)].copy()
    labels = np.array([int(row["label"]) for row in rows], dtype=np.int64)
    source = np.array([int(row["source"]) for row in rows], dtype=np.int64)
    return Garments(split, images, labels, source, np.arange(len(rows)))

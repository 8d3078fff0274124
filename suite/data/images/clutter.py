"""`fashion-clutter`: real garments on cluttered canvases, with the truth about which tokens matter.

A garment, tinted, scaled 1 to 1.5 and placed at random, on a 56x56 canvas of coloured 1/f^1.2 noise
with four fragments of other garments as distractors, in the spirit of the MNIST variations with
background images (Larochelle et al. 2007) and cluttered MNIST. With patches of 4 it has the token
geometry of ImageNet at 224/16: 14x14. An image is a function of (generator version, split, index of
the garment in its original file, variant) and of nothing else: neither of the batch nor the order
nor the machine. `variant` 0 is the data set; others are further draws to train on.

The garment lies wholly on the canvas, so the middle is foreground far more often than the rim (a
corner almost never): where a garment stands tells nothing of its class, but a rule that keeps the
middle is not blind to content.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backbones.common.errors import UserError
from suite.data.base import Dataset, Grid, Manifest, Request, check_index
from suite.data.images.composite import GARMENT_DICE, draw_garments
from suite.data.images.fashion_mnist_files import load_full
from suite.data.images.noise import LATTICE_BYTES, OCTAVES, SIDE, draw_noise
from suite.data.images.sources import CLASSES, SPLITS, Garments, bundled, check_split
from suite.data.loading.pixels import normalise, resize

# Raise with any change that alters a pixel.
GENERATOR_VERSION = 1
# Per channel, of `train` at variant 0; the channels are alike by construction.
MEAN = (0.435, 0.435, 0.435)
STD = (0.170, 0.170, 0.170)
# A token is foreground when the garment covers at least this share of it: one pixel of a 4x4 patch.
FOREGROUND_SHARE = 1 / 16
MAX_VARIANT = (1 << 32) - 1
# Random 64-bit words an image takes: one a die (the garments', then two shifts an octave), then
# eight knots a word.
DICE = GARMENT_DICE + 2 * OCTAVES
WORDS = DICE + (LATTICE_BYTES + 7) // 8


def random_words(split: str, source: NDArray[np.int64], variant: int) -> NDArray[np.uint64]:
    """(B, WORDS) random words, row by row the Philox stream (Salmon et al. 2011) that belongs to one image."""
    if not 0 <= variant <= MAX_VARIANT:
        raise ValueError(f"variant {variant} is not in 0..{MAX_VARIANT}")
    words = np.empty((len(source), WORDS), np.uint64)
    high = GENERATOR_VERSION << 32 | SPLITS.index(split)
    for row, index in enumerate(source):
        key = np.array([high, variant << 32 | int(index)], np.uint64)
        words[row] = np.random.Philox(key=key).random_raw(WORDS)
    return words


def render(
    garments: Garments, indices: NDArray[np.int64], variant: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images (B, 56, 56, 3) of the garments at `indices`, and the garments' opacity (B, 56, 56), 255 = covered."""
    rows = np.asarray(indices, np.int64)
    if rows.size and not 0 <= rows.min() <= rows.max() < len(garments.images):
        raise IndexError(
            f"an index of {rows.min()}..{rows.max()} is not in 0..{len(garments.images) - 1}"
        )
    canvas = np.empty((len(rows), SIDE, SIDE, 3), np.uint8)
    alpha = np.empty((len(rows), SIDE, SIDE), np.uint8)
    words = random_words(garments.split, garments.source[rows], variant)
    dice = (words[:, :DICE] >> np.uint64(33)).astype(np.int64)
    # Contiguous, as a part of a single row is by itself: with another layout all would be compiled
    # once more for it.
    of_garments, of_noise = (
        np.ascontiguousarray(part) for part in (dice[:, :GARMENT_DICE], dice[:, GARMENT_DICE:])
    )
    draw_noise(np.ascontiguousarray(words[:, DICE:]).view(np.uint8), of_noise, canvas)
    draw_garments(garments.images, rows, garments.pool, of_garments, canvas, alpha)
    return canvas, alpha


def render_batch(
    garments: Garments, indices: NDArray[np.int64], variant: int = 0
) -> NDArray[np.uint8]:
    """Images (B, 56, 56, 3) of the garments at `indices`: the fast path for training.

    `garments` pickles, and the work releases the GIL, so threads and worker processes can both
    share it.
    """
    return render(garments, indices, variant)[0]


def token_coverage(alpha: NDArray[np.uint8], grid: tuple[int, int]) -> NDArray[np.float64]:
    """Share of each cell of `grid` (rows, columns) that the object covers; `alpha` (B, H, W) to (B, rows, columns)."""
    height, width = alpha.shape[1:]
    if not (0 < grid[0] <= height and 0 < grid[1] <= width):
        raise ValueError(f"grid {grid} does not fit an image of {height}x{width}")
    tops, lefts = (np.arange(n) * side // n for n, side in zip(grid, (height, width), strict=True))
    sums = np.add.reduceat(np.add.reduceat(alpha.astype(np.int64), tops, axis=1), lefts, axis=2)
    areas = np.outer(np.diff(tops, append=height), np.diff(lefts, append=width))
    return sums / (255.0 * areas)


class FashionClutter(Dataset):
    """`fashion-clutter` at one variant, over the garments it is given."""

    name = "fashion-clutter"
    classes = CLASSES
    mean, std = MEAN, STD

    def __init__(self, garments: Garments, variant: int = 0) -> None:
        self.garments = garments
        self.variant = variant
        self.split = garments.split
        self.labels = garments.labels

    def image(self, index: int) -> NDArray[np.uint8]:
        """The canvas, (56, 56, 3)."""
        canvas: NDArray[np.uint8] = render_batch(
            self.garments, np.array([check_index(index, len(self))]), self.variant
        )[0]
        return canvas

    def sample(self, index: int, image_size: int) -> NDArray[np.float32]:
        """The canvas resized (bilinear) and normalised, (3, image_size, image_size)."""
        pixels: NDArray[np.float32] = self.samples(
            np.array([check_index(index, len(self))]), image_size
        )[0]
        return pixels

    def samples(self, indices: NDArray[np.int64], image_size: int) -> NDArray[np.float32]:
        """Several canvases, drawn in one call, (B, 3, S, S)."""
        return self.samples_with_foreground(indices, image_size, None)[0]

    def samples_with_foreground(
        self, indices: NDArray[np.int64], image_size: int, grid: Grid | None
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
        """Several canvases and where their garments are, drawn in one call."""
        canvas, alpha = render(self.garments, indices, self.variant)
        samples = normalise(resize(canvas, image_size), MEAN, STD)
        return samples, None if grid is None else token_coverage(alpha, grid) >= FOREGROUND_SHARE

    def foreground(self, index: int, grid: tuple[int, int]) -> NDArray[np.bool_]:
        """Cells of `grid` of which the garment covers at least `FOREGROUND_SHARE`."""
        alpha = render(self.garments, np.array([check_index(index, len(self))]), self.variant)[1]
        covered: NDArray[np.bool_] = token_coverage(alpha, grid)[0] >= FOREGROUND_SHARE
        return covered

    def identity(self) -> Manifest:
        """Garments, generator version, variant and normalisation."""
        return {
            "garments": self.garments.checksum(),
            "generator": GENERATOR_VERSION,
            "variant": self.variant,
            "mean": MEAN,
            "std": STD,
        }


def open_garments(split: str, source: str | None = None) -> Garments:
    """The garments of `split`: bundled by default for `dev` and `test`, the full source for `train`.

    `source` is None, ``bundled``, ``full`` (looked for on this machine) or the folder that holds
    the IDX files.
    """
    check_split(split)
    if source == "bundled" or (source is None and split != "train"):
        return bundled(split)
    return load_full(split, Path(source) if source not in (None, "full") else None)


def open_clutter(request: Request) -> FashionClutter:
    """Open ``fashion-clutter``; the usual split is `test`."""
    if request.path:
        raise UserError(
            "fashion-clutter takes no path: name the folder of the originals with --source"
        )
    return FashionClutter(open_garments(request.split or "test", request.source))

"""`fashion-clutter`: garments on cluttered canvases, with the tokens that matter known.

A garment, tinted, scaled 1 to 1.5 and placed at random, on a 56x56 canvas of coloured 1/f^1.2 noise
with four fragments of other garments as distractors, in the spirit of the MNIST variations with
background images (Larochelle et al. 2007) and cluttered MNIST. With patches of 4 it has the token
geometry of ImageNet at 224/16: 14x14. An image is a function of (generator version, split, index of
the garment in its original file, variant) and of nothing else: neither of the batch nor the order
nor the machine. `variant` 0 is the data set; others are further draws to train on.

The garment lies wholly on the canvas, so the centre is foreground far more often than the rim (a
corner almost never): the position of a garment says nothing of its class, but a rule that keeps the
centre is not blind to content.

For segmentation the classes are the background and the ten garments. A pixel of the 56x56 canvas
belongs to the garment if the garment covers at least half of it. Noise, distractors, the
photograph's own background and what shows through a garment, such as the opening of a bag's handle,
are background. The distractors are pieces of garments, too, so that to tell fabric from noise is
not enough.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backbones.common.errors import UserError
from backbones.common.paths import local_path
from suite.data.base import (
    Dataset,
    Decoded,
    Grid,
    IntArray,
    Manifest,
    Mask,
    Pixels,
    Request,
    Samples,
    TaskName,
    Truth,
    digest,
)
from suite.data.images.composite import GARMENT_DICE, draw_garments
from suite.data.images.fashion_mnist_files import load_full
from suite.data.images.noise import LATTICE_BYTES, OCTAVES, SIDE, draw_noise
from suite.data.images.sources import (
    CLASSES,
    SPLITS,
    UNBUNDLED,
    Garments,
    bundled,
    check_split,
)
from suite.data.loading.pixels import nearest_pixels, normalise, resize

# Raise with any change that alters a pixel.
GENERATOR_VERSION = 1
# Per channel, of `train` at variant 0; the channels are alike by construction.
MEAN = (0.435, 0.435, 0.435)
STD = (0.170, 0.170, 0.170)
# A token is foreground when the garment covers at least this share of it: one pixel of a 4x4 patch.
FOREGROUND_SHARE = 1 / 16
# A pixel is of the garment from this opacity on, of 255.
GARMENT_OPACITY = 128
BACKGROUND = "background"
MAX_VARIANT = (1 << 32) - 1
# Random 64-bit words of an image: one a die (the garments', then two shifts an octave), then eight
# knots a word.
DICE = GARMENT_DICE + 2 * OCTAVES
WORDS = DICE + (LATTICE_BYTES + 7) // 8


def random_words(split: str, source: IntArray, variant: int) -> NDArray[np.uint64]:
    """Random words (B, WORDS), each row from an image's own Philox stream (Salmon et al. 2011)."""
    if not 0 <= variant <= MAX_VARIANT:
        raise ValueError(f"variant {variant} is not in 0..{MAX_VARIANT}")
    words = np.empty((len(source), WORDS), np.uint64)
    high = GENERATOR_VERSION << 32 | SPLITS.index(split)
    for row, index in enumerate(source):
        # The key names the image, so that an image does not depend on its batch.
        key = np.array([high, variant << 32 | int(index)], np.uint64)
        words[row] = np.random.Philox(key=key).random_raw(WORDS)
    return words


def render(garments: Garments, indices: IntArray, variant: int = 0) -> tuple[Pixels, Pixels]:
    """Images (B, 56, 56, 3) of the garments at `indices`, and their opacity (B, 56, 56) 0..255."""
    rows = np.asarray(indices, np.int64)
    if rows.size and not 0 <= rows.min() <= rows.max() < len(garments.images):
        last = len(garments.images) - 1
        raise IndexError(f"an index of {rows.min()}..{rows.max()} is not in 0..{last}")
    canvas = np.empty((len(rows), SIDE, SIDE, 3), np.uint8)
    alpha = np.empty((len(rows), SIDE, SIDE), np.uint8)
    words = random_words(garments.split, garments.source[rows], variant)
    dice = (words[:, :DICE] >> np.uint64(33)).astype(np.int64)
    # Contiguous, as a slice of a single row is by itself: numba would compile the loops once more
    # for another layout.
    garment_dice = np.ascontiguousarray(dice[:, :GARMENT_DICE])
    noise_dice = np.ascontiguousarray(dice[:, GARMENT_DICE:])
    lattice = np.ascontiguousarray(words[:, DICE:]).view(np.uint8)
    draw_noise(lattice, noise_dice, canvas)
    draw_garments(garments.images, rows, garments.pool, garment_dice, canvas, alpha)
    return canvas, alpha


def token_coverage(alpha: Pixels, grid: Grid) -> NDArray[np.float64]:
    """Share of each `grid` cell (rows, columns) covered by the object; `alpha` is (B, H, W)."""
    height, width = alpha.shape[1:]
    rows, columns = grid
    if not (0 < rows <= height and 0 < columns <= width):
        raise ValueError(f"grid {grid} does not fit an image of {height}x{width}")
    # First pixel of each cell: where the grid does not divide the image, cells differ by a pixel.
    tops = np.arange(rows) * height // rows
    lefts = np.arange(columns) * width // columns
    sums = np.add.reduceat(np.add.reduceat(alpha.astype(np.int64), tops, axis=1), lefts, axis=2)
    areas = np.outer(np.diff(tops, append=height), np.diff(lefts, append=width))
    return sums / (255.0 * areas)


def covered_cells(alpha: Pixels, grid: Grid) -> Mask:
    """Cells of `grid` that count as foreground, (B, rows, columns)."""
    return token_coverage(alpha, grid) >= FOREGROUND_SHARE


class FashionClutter(Dataset):
    """`fashion-clutter` at one variant, with the garments or the pixels' classes to be named."""

    name = "fashion-clutter"
    mean, std = MEAN, STD

    def __init__(
        self,
        garments: Garments,
        variant: int = 0,
        split: str | None = None,
        task: TaskName = "classification",
    ) -> None:
        """`split` is what these garments are called, by default as in their file."""
        self.garments, self.variant, self.task = garments, variant, task
        self.split = split or garments.split
        # The background is class 0 of a pixel, and no image is of it.
        before = (BACKGROUND,) if task == "segmentation" else ()
        self.classes = (*before, *CLASSES)
        self.labels = garments.labels + len(before)

    def image(self, index: int) -> Pixels:
        """The canvas, (56, 56, 3)."""
        return self._draw(index)[0]

    def sample(self, index: int, image_size: int) -> Samples:
        """The canvas resized (bilinear) and normalised, (3, image_size, image_size)."""
        sample: Samples = normalise(resize(self.image(index)[None], image_size), MEAN, STD)[0]
        return sample

    def samples_with_foreground(
        self, indices: IntArray, image_size: int, grid: Grid | None
    ) -> Decoded:
        """Several canvases and the cells of their garments, drawn in one call."""
        canvas, alpha = render(self.garments, indices, self.variant)
        samples = normalise(resize(canvas, image_size), MEAN, STD)
        return samples, None if grid is None else covered_cells(alpha, grid)

    def foreground(self, index: int, grid: Grid) -> Mask:
        """Cells of `grid` of which the garment covers at least `FOREGROUND_SHARE`."""
        covered: Mask = covered_cells(self._draw(index)[1][None], grid)[0]
        return covered

    def truth(self, index: int, image_size: int) -> Truth:
        """The class of each pixel; of another size than the canvas that of the nearest pixel."""
        self.check_index(index)
        truth: Truth = self.truths(np.array([index]), image_size)[0]
        return truth

    def truths(self, indices: IntArray, image_size: int) -> Truth:
        """The truth of several canvases, drawn in one call, (B, image_size, image_size)."""
        _, alpha = render(self.garments, indices, self.variant)
        labels = self.labels[indices].astype(np.uint8)
        drawn = np.where(alpha >= GARMENT_OPACITY, labels[:, None, None], np.uint8(0))
        return nearest_pixels(drawn, image_size)

    def content(self, indices: IntArray) -> str:
        """Hash of the garments at `indices` and of all else that is drawn from."""
        garments = self.garments.checksum_of(indices)
        shown = {"name": self.name, "garments": garments, **self.task_rule()}
        return digest({**self.identity(), **shown})

    def identity(self) -> Manifest:
        """Garments, generator version, variant and normalisation."""
        return {
            "garments": self.garments.checksum(),
            "generator": GENERATOR_VERSION,
            "variant": self.variant,
            "mean": MEAN,
            "std": STD,
        }

    def _draw(self, index: int) -> tuple[Pixels, Pixels]:
        """Canvas and opacity of one image."""
        row = np.array([self.check_index(index)])
        canvas, alpha = render(self.garments, row, self.variant)
        return canvas[0], alpha[0]


def open_garments(split: str, source: str | None = None) -> Garments:
    """The garments of `split`: bundled by default for `dev` and `test`, the full ones for others.

    `source` is None, ``bundled``, ``full`` (searched on this machine) or the folder of the original
    files. Of `train` and `unbundled` nothing is bundled.
    """
    check_split(split)
    if source == "bundled" or (source is None and split not in ("train", UNBUNDLED)):
        return bundled(split)
    return load_full(split, local_path(source) if source not in (None, "full") else None)


def garments_for(request: Request, name: str) -> Garments:
    """The garments that `request` asks of data set `name`; the usual split is `test`."""
    if request.path:
        raise UserError(f"{name} takes no path: name the folder of the originals with --source")
    return open_garments(request.split or "test", request.source)


def open_clutter(request: Request) -> FashionClutter:
    """Open ``fashion-clutter``."""
    garments = garments_for(request, "fashion-clutter")
    return FashionClutter(garments, split=request.split, task=request.task)

"""Outcomes of segmentation: how an image's pixels are named under a cell, and how surely.

The class of a pixel is the largest of its logits, which `suite.evaluation.pixels` interpolates from
a head's map, or joins from those of windows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter
from torch import Tensor

from backbones.dense.windows import Layout
from suite.data.base import IGNORED
from suite.data.loading.loader import Batch
from suite.evaluation.pixels import AtRows, of_maps, of_windows
from suite.stats.confusion import frequency_iou, matrix_miou, pixel_accuracy, summed
from suite.store.schema import SegmentationMetrics
from suite.system.stopwatch import STOPWATCH

# Half the width of a border: 2 % of the image's diagonal, as for the Boundary IoU (Cheng et al.,
# CVPR 2021). With patches of 4 at 56 pixels or 16 at 512 this is about half a token or a whole one.
BORDER_SHARE = 0.02
# Interpolated logits at once: on a CPU as many as its cache has room for.
MAX_LOGITS = 1 << 18
MAX_LOGITS_ON_GPU = 1 << 22
# Logits of the dense model that stay in memory for all cells.
MAX_KEPT = 1 << 23

Columns = dict[str, NDArray[Any]]
Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Lists = NDArray[np.object_]


class PixelAnswers:
    """What cells say of the pixels of one batch; of their logits only outcomes are kept."""

    keeps_logits: ClassVar[bool] = False

    def __init__(self, batch: Batch, dense: str) -> None:
        """`dense` is the key of the dense cell, whose logits are added before all others."""
        if batch.truth is None:
            raise ValueError("segmentation is of images that have a truth")
        self._indices = batch.indices.numpy()
        if batch.layouts is None:
            self._parts = [Part(np.stack([truth.numpy() for truth in batch.truth]))]
        else:
            # Pictures have different sizes: each is a part of its own.
            pictures = zip(batch.truth, batch.layouts, strict=True)
            self._parts = [Part(truth.numpy()[None], layout) for truth, layout in pictures]
        self._dense_key = dense
        # by cell: logits of samples whose part is not complete, and outcomes of the parts before
        self._waiting: dict[str, Tensor] = {}
        self._columns: dict[str, list[Columns]] = {}

    def add(self, key: str, logits: Tensor) -> None:
        """Take the logits (samples, K, h, w) of a cell on the next samples of the batch."""
        with STOPWATCH.part("outcomes"):
            done = self._columns.setdefault(key, [])
            if key in self._waiting:
                logits = torch.cat([self._waiting.pop(key), logits])
            for part in self._parts[len(done) :]:
                if len(logits) < part.samples:
                    break
                own, logits = logits[: part.samples], logits[part.samples :]
                if key == self._dense_key:
                    part.dense = DensePixels(own, part.truth, part.at_rows)
                # If the dense model failed, no cell has outcomes.
                if part.dense is not None:
                    named = part.dense.name(own)
                    done.append(outcomes(named, part.truth, part.near, own.shape[1]))
            if len(logits):
                self._waiting[key] = logits

    def outcomes(self, keys: Sequence[str], tau: Mapping[str, Tensor]) -> dict[str, Columns]:
        """Outcomes of the cells `keys`; `tau` (B,) is that of each."""
        rows = {}
        for key in keys:
            parts = self._columns[key]
            columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
            order = tau[key].numpy().astype(np.float32)
            rows[key] = {"image": self._indices, **columns, "tau": order}
        return rows


class Part:
    """Images of one batch that are looked at together: those of one size, or a picture in windows.

    ``samples``  how many the model sees of it
    ``truth``    classes (n, H, W) of the pixels
    ``near``     which of them are near a border
    ``dense``    what the dense model says of them, once it is known
    """

    def __init__(self, truth: Bytes, layout: Layout | None = None) -> None:
        self.truth, self.layout = truth, layout
        self.samples = layout.count if layout else len(truth)
        self.near = border(truth, border_radius(*truth.shape[1:]))
        self.dense: DensePixels | None = None

    def at_rows(self, logits: Tensor, images: slice) -> AtRows:
        """The logits of some of its images, of the `samples` of all, at rows of their pixels."""
        size = self.truth.shape[1:]
        if self.layout:
            return of_windows(logits, self.layout, *size)
        return of_maps(logits[images], *size)


class Named(NamedTuple):
    """What a cell says of pixels (n, H, W), on the CPU.

    ``prediction``  class
    ``agree``       whether it is the dense model's
    ``loss``        cross-entropy, nats; of ignored pixels a number without meaning
    ``kl``          KL(dense || cell), nats
    """

    prediction: Bytes
    agree: Mask
    loss: Floats
    kl: Floats


class Scored(NamedTuple):
    """Logits (n, K, r, W) of some pixels, with what follows from them.

    ``total``  logarithm (n, r, W) of the sum of exponentials
    ``best``   class (n, r, W) of the largest logit; of equal ones the first
    """

    logits: Tensor
    total: Tensor
    best: Tensor

    @classmethod
    def of(cls, logits: Tensor) -> Scored:
        """Score logits over the classes, in dimension 1."""
        largest = logits.amax(1, keepdim=True)
        # The same as `logsumexp`, of which `largest` is a part.
        total = (logits - largest).exp_().sum(1).log_() + largest[:, 0]
        # `argmax` takes ten times as long in a dimension that is not the last.
        classes = torch.arange(logits.shape[1], dtype=torch.int32, device=logits.device)
        best = torch.where(logits == largest, classes[:, None, None], len(classes)).amin(1)
        return cls(logits, total, best)


class DensePiece(NamedTuple):
    """The dense model's answer on some pixels, its softmax (n, K, r, W), and their truth."""

    scored: Scored
    share: Tensor
    truth: Tensor


class DensePixels:
    """The dense model's answer on some images at the pixels of their truth, piece by piece.

    `at_rows` finds logits at pixels. Pieces are kept where all together are few; otherwise each
    cell has them made anew.
    """

    def __init__(
        self, logits: Tensor, truth: Bytes, at_rows: Callable[[Tensor, slice], AtRows]
    ) -> None:
        self.logits, self.truth, self._at_rows = logits, truth, at_rows
        classes = logits.shape[1]
        limit = MAX_LOGITS if logits.device.type == "cpu" else MAX_LOGITS_ON_GPU
        self._keeps = classes * truth.size <= MAX_KEPT
        self._pieces = list(pieces(truth.shape, classes, limit))
        self._kept: dict[int, DensePiece] = {}

    def name(self, logits: Tensor) -> Named:
        """Name the pixels by the logits of a cell, which are as many as the dense model's.

        What is found of a pixel depends on its image alone, to the bit.
        """
        fields: list[NDArray[Any]] = []
        for kind in (np.uint8, np.bool_, np.float32, np.float32):
            fields.append(np.empty(self.truth.shape, kind))
        number = 0
        for images, parts in self._pieces:
            ours = self._at_rows(logits, images)
            theirs = self._at_rows(self.logits, images)
            for rows in parts:
                dense = self._dense(number, theirs, images, rows)
                found = compare(Scored.of(ours(rows)), dense)
                for whole, values in zip(fields, found, strict=True):
                    whole[images, rows] = values.cpu().numpy()
                number += 1
        return Named(*fields)

    def _dense(self, number: int, at_rows: AtRows, images: slice, rows: slice) -> DensePiece:
        """The dense model's answer on a piece."""
        if number in self._kept:
            return self._kept[number]
        scored = Scored.of(at_rows(rows))
        share = (scored.logits - scored.total[:, None]).exp_()
        truth = torch.from_numpy(self.truth[images, rows]).to(share.device)
        piece = DensePiece(scored, share, truth)
        if self._keeps:
            self._kept[number] = piece
        return piece


def compare(cell: Scored, dense: DensePiece) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The fields of `Named` of the same pixels (n, r, W)."""
    # An ignored pixel is given the first class, and counts for nothing later.
    true = dense.truth.long().masked_fill(dense.truth == IGNORED, 0)
    loss = cell.total - cell.logits.gather(1, true[:, None])[:, 0]
    # log q - log p = (dense - cell) - (log Z - log Z'), so that equal logits give zero.
    apart = (dense.scored.logits - cell.logits).mul_(dense.share).sum(1)
    kl = apart - (dense.scored.total - cell.total)
    return cell.best.to(torch.uint8), cell.best == dense.scored.best, loss, kl.clamp_(min=0)


def pieces(shape: tuple[int, ...], classes: int, limit: int) -> Iterator[tuple[slice, list[slice]]]:
    """Cut pixels of this `shape` (n, H, W) into some images, or one in several parts of rows.

    A piece has at most `limit` logits, or a single row.
    """
    batch, height, width = shape
    of_image = classes * height * width
    images = max(1, limit // of_image)
    rows = height if of_image <= limit else max(1, limit // (classes * width))
    parts = [slice(row, min(row + rows, height)) for row in range(0, height, rows)]
    for image in range(0, batch, images):
        yield slice(image, image + images), parts


def border_radius(height: int, width: int) -> int:
    """How near a pixel of a border is to one of another class, in pixels; at least 1."""
    return max(1, round(BORDER_SHARE * math.hypot(height, width)))


def border(truth: Bytes, radius: int) -> Mask:
    """Pixels (B, H, W) with one of another class at most `radius` rows and columns away.

    Ignored pixels are of no class: they neither make a border nor belong to one.
    """
    ignored = truth == IGNORED
    square = (1, 2 * radius + 1, 2 * radius + 1)
    # Where a class differs from another nearby, it differs from the largest or the smallest there.
    classes = truth.astype(np.int16)
    nothing = np.where(ignored, np.int16(-1), classes)
    highest = maximum_filter(nothing, square, mode="constant", cval=-1)
    nothing = np.where(ignored, np.int16(IGNORED), classes)
    lowest = minimum_filter(nothing, square, mode="constant", cval=IGNORED)
    differs: Mask = ((highest != classes) | (lowest != classes)) & ~ignored
    return differs


def outcomes(named: Named, truth: Bytes, near: Mask, classes: int) -> Columns:
    """Outcomes (B,) of images from what a cell says of their pixels but its number and tau.

    `near` (B, H, W) are the pixels near a border. A row depends on nothing but its image.
    """
    counts = truth != IGNORED
    confusion, pixels = pairs(truth, named.prediction, counts, classes)
    border_confusion, border_pixels = pairs(truth, named.prediction, near, classes)
    total = counts.reshape(len(truth), -1).sum(1)
    means = {}
    for name in ("loss", "agree", "kl"):
        # float64, since a sum of many float32 values depends on the order they are added in.
        values = np.where(counts, getattr(named, name), 0).astype(np.float64)
        means[name] = (values.reshape(len(truth), -1).sum(1) / total).astype(np.float32)
    return {
        "confusion": confusion,
        "pixels": pixels,
        "border_confusion": border_confusion,
        "border_pixels": border_pixels,
        **means,
    }


def pairs(truth: Bytes, prediction: Bytes, chosen: Mask, classes: int) -> tuple[Lists, Lists]:
    """Of each image the pairs of classes of its `chosen` pixels, and how many have each."""
    squares = classes * classes
    first = squares * np.arange(len(truth))
    codes = first[:, None, None] + truth.astype(np.int64) * classes + prediction
    counted = np.bincount(codes[chosen], minlength=squares * len(truth))
    found = counted.nonzero()[0]
    ends = np.searchsorted(found, first[1:])
    return (
        _lists(np.split(found % squares, ends)),
        _lists(np.split(counted[found].astype(np.int32), ends)),
    )


def _lists(arrays: Sequence[NDArray[Any]]) -> Lists:
    column = np.empty(len(arrays), np.object_)
    # One by one: arrays of equal lengths would become one of two dimensions.
    for row, array in enumerate(arrays):
        column[row] = array
    return column


def miou(frame: pd.DataFrame, classes: int) -> float:
    """Mean IoU of one cell over its images."""
    return matrix_miou(summed(frame.confusion, frame.pixels, classes))


def metrics(frame: pd.DataFrame, classes: int, dense_miou: float) -> SegmentationMetrics:
    """Metrics of one cell from the outcomes of its images."""
    matrix = summed(frame.confusion, frame.pixels, classes)
    near = summed(frame.border_confusion, frame.border_pixels, classes)

    def mean(column: str) -> float:
        # float64, since a sum of many float32 values depends on the order they are added in.
        return float(frame[column].astype(np.float64).mean())

    return SegmentationMetrics(
        miou=matrix_miou(matrix),
        pixel_accuracy=pixel_accuracy(matrix),
        frequency_iou=frequency_iou(matrix),
        border_miou=matrix_miou(near),
        loss=mean("loss"),
        agreement=mean("agree"),
        kl=mean("kl"),
        tau=mean("tau"),
        dense_miou=dense_miou,
    )

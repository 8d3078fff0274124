"""What a change of an image's tokens does to the model's answer: the class of it, or of its pixels.

Effects are named alike in both tasks: ``loss``, the change of the cross-entropy in nats, positive
where the token was needed; ``margin``, that of the true class's logit less the best other's, of
classes of images alone; ``flip``, where another class is named; ``kl``, KL(dense || variant) in
nats. Those of pixels are means over the pixels of an image that have a class.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from backbones.base import Backbone
from suite.data.base import IGNORED
from suite.data.loading.loader import Batch
from suite.evaluation.outcomes import divergence, loss_and_margin
from suite.evaluation.segmentation import DensePixels, Part

Array = NDArray[np.float64]
CHANGED = "changed"  # pixels of each patch whose class changes, (K, n); of segmentation alone


class Effects(Protocol):
    """What variants of one image change, beside the unchanged model.

    ``names``  of the effects
    """

    names: ClassVar[tuple[str, ...]]

    def of(self, logits: Tensor) -> dict[str, Array]:
        """The effects (K,) of K variants by their logits, and `CHANGED` where pixels are named."""
        ...

    def measures(self, logits: Tensor) -> dict[str, Tensor]:
        """The loss, and the margin where there is one, (1,) each, for their gradients."""
        ...


class ClassEffects:
    """Effects on the class of an image."""

    names: ClassVar[tuple[str, ...]] = ("loss", "margin", "flip", "kl")

    def __init__(self, dense: Tensor, batch: Batch) -> None:
        """`dense` are the logits (1, C) of the unchanged model on the one image of `batch`."""
        self._label = batch.labels
        # In fp64 on the CPU, as outcomes are, so that small effects do not drown in rounding.
        self._dense = dense.double().cpu()

    def of(self, logits: Tensor) -> dict[str, Array]:
        """The effects of logits (K, C)."""
        label = self._label.cpu()
        logits = logits.double().cpu()
        log_p, log_q = logits.log_softmax(1), self._dense.log_softmax(1)
        loss, margin = loss_and_margin(logits, log_p, label.expand(len(logits)))
        dense_loss, dense_margin = loss_and_margin(self._dense, log_q, label)
        found = {
            "loss": loss - dense_loss,
            "margin": margin - dense_margin,
            "flip": logits.argmax(1) != self._dense.argmax(1),
            "kl": divergence(log_q, log_q.exp(), log_p),
        }
        return {name: values.double().numpy() for name, values in found.items()}

    def measures(self, logits: Tensor) -> dict[str, Tensor]:
        """Loss and margin of logits (1, C)."""
        label = self._label.to(logits.device)
        loss, margin = loss_and_margin(logits, logits.log_softmax(1), label)
        return {"loss": loss, "margin": margin}


class PixelEffects:
    """Effects on the classes of an image's pixels, found at the pixels of its truth."""

    names: ClassVar[tuple[str, ...]] = ("loss", "flip", "kl")

    def __init__(self, dense: Tensor, batch: Batch, grid: tuple[int, int]) -> None:
        """`dense` are the logits (1, C, h, w) of the unchanged model, `grid` its patches."""
        if batch.truth is None:
            raise ValueError("segmentation is of images that have a truth")
        self._grid = grid
        (truth,) = batch.truth
        part = Part(truth.numpy()[None])
        self._truth = part.truth[0]
        self._dense = DensePixels(dense, part.truth, part.at_rows)
        self._counts = self._truth != IGNORED
        self._dense_loss = self._mean(self._dense.name(dense).loss[0])
        # A pixel lies in the patch that its centre lies in.
        rows, columns = (
            np.arange(size) * patches // size
            for size, patches in zip(self._truth.shape, grid, strict=True)
        )
        self._patch = (rows[:, None] * grid[1] + columns)[self._counts]
        self._sizes = np.bincount(self._patch, minlength=grid[0] * grid[1])

    def of(self, logits: Tensor) -> dict[str, Array]:
        """The effects of logits (K, C, h, w)."""
        patches = len(self._sizes)
        found = {name: np.empty(len(logits)) for name in self.names}
        found[CHANGED] = np.empty((len(logits), patches))
        for number in range(len(logits)):
            named = self._dense.name(logits[number : number + 1])
            changes = ~named.agree[0]
            found["loss"][number] = self._mean(named.loss[0]) - self._dense_loss
            found["flip"][number] = self._mean(changes)
            found["kl"][number] = self._mean(named.kl[0])
            changed = changes[self._counts]
            found[CHANGED][number] = np.bincount(self._patch, changed, patches)
        return found

    def by_offset(self, changed: Array, ranks: Array) -> dict[str, Array]:
        """Where pixels change, beside the one patch of these `ranks` (K,) that each variant lacks.

        `changed` (K, n) is that of `of`. A row is an offset in the grid, so many patches ``down``
        and ``right``: the ``share`` of the pixels there that change, mean over the variants whose
        patch there has pixels with a class, else NaN; and how many ``pixels`` change there, over
        all variants.
        """
        rows, columns = self._grid
        sizes = self._sizes.reshape(self._grid)
        total, shares, known = np.zeros((3, 2 * rows - 1, 2 * columns - 1))
        for rank, counts in zip(ranks, changed.reshape(-1, rows, columns), strict=True):
            row, column = divmod(int(rank), columns)
            # the grid, as it lies round the patch in the middle
            place = (
                slice(rows - 1 - row, 2 * rows - 1 - row),
                slice(columns - 1 - column, 2 * columns - 1 - column),
            )
            total[place] += counts
            shares[place] += counts / np.maximum(sizes, 1)
            known[place] += sizes > 0
        down, right = np.indices(total.shape)
        mean = np.divide(shares, known, out=np.full(total.shape, np.nan), where=known > 0)
        return {
            "down": (down - rows + 1).astype(np.int32).ravel(),
            "right": (right - columns + 1).astype(np.int32).ravel(),
            "share": mean.ravel(),
            "pixels": total.ravel(),
        }

    def _mean(self, values: NDArray[Any]) -> float:
        """Mean over the pixels with a class."""
        return float(values[self._counts].mean(dtype=np.float64))

    def measures(self, logits: Tensor) -> dict[str, Tensor]:
        """The loss of logits (1, C, h, w); no margin."""
        truth = torch.from_numpy(self._truth).long().to(logits.device)[None]
        full = functional.interpolate(
            logits, size=self._truth.shape, mode="bilinear", align_corners=False
        )
        loss = functional.cross_entropy(full, truth, ignore_index=IGNORED)
        return {"loss": loss[None]}


def effects_on(model: Backbone, dense: Tensor, batch: Batch) -> Effects:
    """The effects on what `model` names, by its logits on the one image of `batch`."""
    if model.task == "segmentation":
        grid = model.describe().rectangle
        assert grid is not None  # of any segmenter
        return PixelEffects(dense, batch, grid)
    return ClassEffects(dense, batch)

"""Outcomes of images under cells: what every paired statistic is computed from afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from suite.data.loading.loader import Batch
from suite.evaluation.views import average_views, views_in
from suite.store.schema import ClassificationMetrics

COLUMNS = {
    "image": np.int64,
    "label_true": np.int32,
    "prediction": np.int32,
    "top5": np.bool_,
    "loss": np.float32,
    "margin": np.float32,
    "agree": np.bool_,
    "kl": np.float32,
    "tau": np.float32,
}
Rows = dict[str, NDArray[Any]]  # outcomes of images, by column
REMOVED = "removed_tokens"  # a further column, of cells of adaptive counts
MAX_LOGITS = 1 << 16  # at once, so that what is computed from them stays in the processor's cache


class ClassAnswers:
    """The logits of all cells on one batch, which are compared at once at its end."""

    keeps_logits: ClassVar[bool] = True

    def __init__(self, batch: Batch, dense: str) -> None:
        """`dense` is the key of the dense cell; the views of a video are averaged."""
        self._batch, self._dense = batch, dense
        # All videos have equally many.
        self._views = views_in(batch)[0]
        self._logits: dict[str, list[Tensor]] = {}

    def add(self, key: str, logits: Tensor) -> None:
        """Take the logits (samples, K) of a cell on the next samples of the batch."""
        self._logits.setdefault(key, []).append(logits)

    def outcomes(self, keys: Sequence[str], tau: Mapping[str, Tensor]) -> dict[str, Rows]:
        """Outcomes of the cells `keys`; `tau` (B,) is that of each."""
        if not keys:
            return {}
        columns = outcomes(
            torch.stack([self._of(key) for key in keys]),
            self._of(self._dense),
            self._batch.labels,
            self._batch.indices,
            torch.stack([tau[key] for key in keys]),
        )
        rows = {}
        for cell, key in enumerate(keys):
            rows[key] = {name: values[cell] for name, values in columns.items()}
        return rows

    def _of(self, key: str) -> Tensor:
        return average_views(torch.cat(self._logits[key]), self._views)


def outcomes(
    logits: Tensor,
    dense: Tensor,
    labels: Tensor,
    image: Tensor,
    tau: Tensor,
) -> Rows:
    """Compute `COLUMNS` (N, B) from logits (N, B, K) of N cells and (B, K) of the dense model.

    `labels` (B,) are the classes, `image` (B,) the images' numbers in the data set, `tau` (N, B)
    the order of the surviving tokens (see `suite.evaluation.token_order`).

    ``loss``    cross-entropy in nats
    ``margin``  logit of the true class minus the largest other
    ``agree``   whether cell and dense model predict the same class
    ``kl``      divergence KL(dense || cell) in nats

    The bits of a row depend on nothing but its image.
    """
    # float64 on the CPU: sums over classes then do not depend on the device or the batch.
    # One copy from a GPU: each waits for it.
    dense, logits = dense.double().cpu(), logits.cpu()
    log_q = dense.log_softmax(1)
    q = log_q.exp()
    dense_class = dense.argmax(1)
    cells_at_once = max(1, MAX_LOGITS // max(1, dense.numel()))
    parts = []
    for some in logits.split(cells_at_once):
        parts.append(_compared(some.double(), log_q, q, dense_class, labels))
    size = (len(logits), -1)
    columns = {
        "image": image.expand(size),
        "label_true": labels.expand(size),
        "tau": tau,
    }
    for name in parts[0]:
        columns[name] = torch.cat([part[name] for part in parts])
    return {name: columns[name].numpy().astype(dtype) for name, dtype in COLUMNS.items()}


def _compared(
    logits: Tensor,
    log_q: Tensor,
    q: Tensor,
    dense_class: Tensor,
    labels: Tensor,
) -> dict[str, Tensor]:
    """Columns (N, B) that follow from logits (N, B, K) and the dense model's answer (B, K)."""
    labels = labels.expand(len(logits), -1)
    log_p = logits.log_softmax(2)
    loss, margin = loss_and_margin(logits, log_p, labels)
    prediction = logits.argmax(2)
    return {
        "prediction": prediction,
        "top5": among_largest(logits, labels, 5),
        "loss": loss,
        "margin": margin,
        "agree": prediction == dense_class,
        "kl": divergence(log_q, q, log_p),
    }


def among_largest(logits: Tensor, labels: Tensor, count: int) -> Tensor:
    """Whether the class `labels` (...) is among the `count` that `topk` finds in logits (..., K).

    Comparing takes a fraction of the time of `topk`.
    """
    true = logits.gather(-1, labels[..., None])
    above = (logits > true).sum(-1)
    inside = above + (logits == true).sum(-1) <= count
    # Which of equal ones are among them only `topk` can say.
    unsure = ~inside & (above < count)
    if bool(unsure.any()):
        largest = logits[unsure].topk(count).indices
        inside[unsure] = (largest == labels[unsure][:, None]).any(-1)
    return inside


def loss_and_margin(logits: Tensor, log_p: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy in nats (...), and the true class's logit minus the best other, of (..., K).

    `log_p` is the log-softmax of `logits`.
    """
    index = labels[..., None]
    true = logits.gather(-1, index).squeeze(-1)
    others = logits.scatter(-1, index, -torch.inf)
    loss = -log_p.gather(-1, index).squeeze(-1)
    return loss, true - others.amax(-1)


def divergence(log_q: Tensor, q: Tensor, log_p: Tensor) -> Tensor:
    """KL(q || p) in nats (...), from log-softmax and softmax of q and log-softmax of p (..., K)."""
    # Rounding can leave a sum just below zero where both distributions are equal.
    return (q * (log_q - log_p)).sum(-1).clamp(min=0)


def accuracy(frame: pd.DataFrame) -> float:
    """Top-1 accuracy of one cell, a fraction."""
    return float((frame.prediction == frame.label_true).mean())


def metrics(frame: pd.DataFrame, dense_top1: float) -> ClassificationMetrics:
    """Means over the images of one cell; fractions between 0 and 1, losses in nats."""

    def mean(column: str) -> float:
        # float64, since a sum of many float32 values depends on the order they are added in.
        return float(frame[column].astype(np.float64).mean())

    return ClassificationMetrics(
        top1=accuracy(frame),
        top5=mean("top5"),
        loss=mean("loss"),
        margin=mean("margin"),
        agreement=mean("agree"),
        kl=mean("kl"),
        tau=mean("tau"),
        dense_top1=dense_top1,
    )

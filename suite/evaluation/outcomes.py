"""What is kept of each image under each cell: enough for every paired statistic afterwards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

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
AT_ONCE = 1 << 16  # logits, so that what is made of them stays in cache


def outcomes(
    logits: Tensor, dense: Tensor, labels: Tensor, image: Tensor, tau: Tensor
) -> dict[str, NDArray[Any]]:
    """`COLUMNS`, each (N, B), from logits (N, B, K) of N cells and (B, K) of the dense model.

    `labels` (B,) are the classes, `image` (B,) the images' numbers in the data set.
    ``loss`` is the cross-entropy and ``kl`` the divergence KL(dense || cell), both in nats; ``margin`` the true
    class's logit minus the best other; ``agree`` whether dense and cell predict the same class; ``tau`` (N, B) how
    well the surviving tokens stand in order (see `suite.evaluation.token_order`). A row's bits depend on nothing but its image.
    """
    dense = dense.double().cpu()
    rows = max(1, AT_ONCE // max(1, dense.numel()))
    log_q = dense.log_softmax(1)
    known = log_q, log_q.exp(), dense.argmax(1)
    parts = [_judged(part.double().cpu(), known, labels) for part in logits.split(rows)]
    found = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    same = {"image": image, "label_true": labels}
    found |= {name: values.expand(len(logits), -1) for name, values in same.items()} | {"tau": tau}
    return {name: found[name].numpy().astype(dtype) for name, dtype in COLUMNS.items()}


def _judged(
    logits: Tensor, dense: tuple[Tensor, Tensor, Tensor], labels: Tensor
) -> dict[str, Tensor]:
    """What follows from logits (N, B, K), each (N, B); `dense` has log-softmax and softmax (B, K) and classes (B,)."""
    log_q, q, answer = dense
    labels = labels.expand(len(logits), -1)
    log_p = logits.log_softmax(2)
    loss, margin = loss_and_margin(logits, log_p, labels)
    prediction = logits.argmax(2)
    top5 = logits.topk(min(5, logits.shape[2]), dim=2).indices
    return {
        "prediction": prediction,
        "top5": (top5 == labels[:, :, None]).any(2),
        "loss": loss,
        "margin": margin,
        "agree": prediction == answer,
        "kl": divergence(log_q, q, log_p),
    }


def loss_and_margin(logits: Tensor, log_p: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy in nats (...), and the true class's logit minus the best other, of logits (..., K).

    `log_p` is their log-softmax.
    """
    true = logits.gather(-1, labels[..., None]).squeeze(-1)
    others = logits.scatter(-1, labels[..., None], -torch.inf)
    return -log_p.gather(-1, labels[..., None]).squeeze(-1), true - others.amax(-1)


def divergence(log_q: Tensor, q: Tensor, log_p: Tensor) -> Tensor:
    """KL(q || p) in nats (...) of log-softmax and softmax of one set of logits (..., K), and log-softmax of another."""
    return (q * (log_q - log_p)).sum(-1).clamp(min=0)


def accuracy(frame: pd.DataFrame) -> float:
    """Top-1 of one cell, a fraction."""
    return float((frame.prediction == frame.label_true).mean())


def metrics(frame: pd.DataFrame, dense_top1: float) -> dict[str, float]:
    """Means over the images of one cell; fractions between 0 and 1, losses in nats."""
    return {
        "top1": accuracy(frame),
        "top5": float(frame.top5.mean()),
        "loss": float(frame.loss.astype(np.float64).mean()),
        "margin": float(frame.margin.astype(np.float64).mean()),
        "agreement": float(frame.agree.mean()),
        "kl": float(frame.kl.astype(np.float64).mean()),
        "tau": float(frame.tau.astype(np.float64).mean()),
        "dense_top1": dense_top1,
    }

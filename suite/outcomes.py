"""What is kept of each image under each cell: enough for every paired statistic afterwards."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

COLUMNS = {
    "image": np.int64,
    "label": np.int32,
    "prediction": np.int32,
    "top5": np.bool_,
    "loss": np.float32,
    "margin": np.float32,
    "agree": np.bool_,
    "kl": np.float32,
    "tau": np.float32,
}


def outcomes(logits: Tensor, dense: Tensor, labels: Tensor, image: Tensor, tau: Tensor) -> pd.DataFrame:
    """One row an image from logits (B, K) of a cell and of the dense model, labels (B,) and data-set indices (B,).

    ``loss`` is the cross-entropy and ``kl`` the divergence KL(dense || cell), both in nats; ``margin`` the true
    class's logit minus the best other; ``agree`` whether dense and cell predict the same class; ``tau`` (B,) how
    well the surviving tokens stand in order (see `suite.tau`).
    """
    logits, dense = logits.double().cpu(), dense.double().cpu()
    loss, margin = loss_and_margin(logits, labels)
    prediction = logits.argmax(1)
    top5 = logits.topk(min(5, logits.shape[1]), dim=1).indices
    columns = {
        "image": image,
        "label": labels,
        "prediction": prediction,
        "top5": (top5 == labels[:, None]).any(1),
        "loss": loss,
        "margin": margin,
        "agree": prediction == dense.argmax(1),
        "kl": divergence(dense, logits),
        "tau": tau,
    }
    return pd.DataFrame({name: columns[name].numpy().astype(dtype) for name, dtype in COLUMNS.items()})


def loss_and_margin(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy in nats (B,), and the true class's logit minus the best other (B,), of logits (B, K)."""
    true = logits.gather(1, labels[:, None]).squeeze(1)
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return -logits.log_softmax(1).gather(1, labels[:, None]).squeeze(1), true - others.amax(1)


def divergence(dense: Tensor, logits: Tensor) -> Tensor:
    """KL(dense || other) in nats (B,) of two sets of logits (B, K)."""
    log_q, log_p = dense.log_softmax(1), logits.log_softmax(1)
    return (log_q.exp() * (log_q - log_p)).sum(1).clamp(min=0)


def accuracy(frame: pd.DataFrame) -> float:
    """Top-1 of one cell, a fraction."""
    return float((frame.prediction == frame.label).mean())


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

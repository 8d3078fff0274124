"""Several views of one video: each is a sample of its own, and their softmax is averaged."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from suite.data.loading.loader import Batch


def split_views(batch: Batch, views: int, batch_size: int) -> Iterator[Batch]:
    """Cut a batch of videos into batches of at most `batch_size` samples, which are views.

    Their numbers are those of the videos times `views`, plus the number of the view.
    """
    if views == 1:
        yield batch
        return
    # Numbers of their own, because stochastic methods draw by the number of the sample.
    samples = (batch.indices[:, None] * views + torch.arange(views)).flatten()
    labels = batch.labels.repeat_interleave(views)
    for rows in torch.arange(len(samples)).split(batch_size):
        images = batch.images[rows[0] : rows[-1] + 1]  # a slice, which copies nothing
        yield Batch(samples[rows], images, labels[rows])


def average_views(logits: Tensor, views: int) -> Tensor:
    """Average the softmax over the views of each video: logits (B x views, K) to logits (B, K)."""
    if views == 1:
        return logits
    by_view = logits.double().log_softmax(1).unflatten(0, (-1, views)).unbind(1)
    # One after the other: a reduction over the axis could add in another order in another batch.
    total = by_view[0]
    for view in by_view[1:]:
        total = torch.logaddexp(total, view)
    return total - math.log(views)

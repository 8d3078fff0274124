"""Several views (clips) of one video: run as samples of their own, then averaged as probabilities."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from suite.data.loading.loader import Batch


def split_views(batch: Batch, views: int, batch_size: int) -> Iterator[Batch]:
    """Cut a batch of videos into batches of at most `batch_size` views, each an item of its own."""
    if views == 1:
        yield batch
        return
    # A view's index is unique in the data set, since the noise of stochastic methods depends on it.
    index = (batch.indices[:, None] * views + torch.arange(views)).flatten()
    labels = batch.labels.repeat_interleave(views)
    for rows in torch.arange(len(index)).split(batch_size):
        yield Batch(index[rows], batch.images[rows[0] : rows[-1] + 1], labels[rows])


def average_views(logits: Tensor, views: int) -> Tensor:
    """Average the softmax of the views of each item: (B x views, K), item by item, to logits (B, K)."""
    if views == 1:
        return logits
    by_view = logits.double().log_softmax(1).unflatten(0, (-1, views)).unbind(1)
    # A reduction over the axis may add in another order for another batch size; this one never does.
    total = by_view[0]
    for view in by_view[1:]:
        total = torch.logaddexp(total, view)
    return total - math.log(views)

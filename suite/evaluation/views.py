"""Several views of one item, each a sample of its own: clips of a video, windows of a picture.

The softmax of clips is averaged; windows are joined in `suite.evaluation.pixels`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from suite.data.loading.loader import Batch


def views_in(batch: Batch) -> list[int]:
    """The views of each item of a batch; those of pictures in windows differ."""
    if batch.layouts is not None:
        return [layout.count for layout in batch.layouts]
    items = len(batch.indices)
    return [len(batch.images) // items] * items


def split_views(batch: Batch, views: int, batch_size: int) -> Iterator[Batch]:
    """Cut a batch of items into batches of at most `batch_size` samples, which are views.

    No item has more than `views`. The number of a sample is that of its item times `views`, plus
    that of the view. A batch of items of one view is left as it is.
    """
    if views == 1:
        yield batch
        return
    counts = views_in(batch)
    # Numbers of their own, because stochastic methods draw by the number of the sample.
    numbers = []
    for item, count in zip(batch.indices.tolist(), counts, strict=True):
        numbers.append(item * views + torch.arange(count))
    samples = torch.cat(numbers)
    labels = batch.labels.repeat_interleave(torch.tensor(counts))
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

"""`suite.images`: images of a data set as a model takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from backbones.base import Backbone
from suite.api.reduce import Reduced
from suite.config.run_spec import RunSpec
from suite.data import check_labels, open_dataset
from suite.plan.images import choose_unseen

# Those of the command line, so that both show the same images.
DATA: str = RunSpec.model_fields["data"].default
SPLIT: str = RunSpec.model_fields["split"].default


class Samples(NamedTuple):
    """Images of a data set, on the device of their model.

    ``images``   (B, 3, S, S) float32, normalised; of videos a clip each, (B, 3, T, S, S)
    ``labels``   (B,) int64, numbers of their classes; of a segmenter (B, S, S), those of pixels,
                 255 where a pixel is of none
    ``numbers``  (B,) int64, numbers of the images in their split, as in the outcomes of a run
    """

    images: Tensor
    labels: Tensor
    numbers: Tensor


def images(
    model: Reduced | Backbone,
    images: int | Sequence[int] = 8,
    *,
    data: str = DATA,
    split: str = SPLIT,
    source: str | None = None,
) -> Samples:
    """Read images as `model` takes them: resized, cropped, normalised.

    `images` is how many, chosen as `compare --images` chooses them (stratified by class, none that
    the weights are known to be trained on), or their numbers. `data`, `split` and `source` are
    those of the command line. UserError if the data or their classes do not fit the model.
    """
    backbone = model.model if isinstance(model, Reduced) else model
    dataset = open_dataset(data, split, source=source, task=backbone.task)
    # Before any image is read, which may take long.
    check_labels(dataset, backbone.describe().classes)
    prepared = dataset.prepared_as(backbone.preprocessing).in_frames(backbone.frames).once()
    if isinstance(images, int):
        chosen, _ = choose_unseen(dataset, images, [backbone])
    else:
        chosen = np.array([dataset.check_index(int(number)) for number in images], np.int64)
    device = next(backbone.parameters()).device
    samples = torch.from_numpy(prepared.samples(chosen, backbone.image_size))
    labels, numbers = torch.from_numpy(dataset.labels[chosen]), torch.from_numpy(chosen)
    if dataset.task == "segmentation":
        labels = torch.from_numpy(prepared.truths(chosen, backbone.image_size)).long()
    return Samples(samples.to(device), labels.to(device), numbers.to(device))

"""Images by which a plan is made: none of them evaluated, their labels not read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from backbones.base import Backbone
from backbones.common.errors import UserError
from backbones.common.labels import data_parts
from backbones.common.registry import BUILT_IN
from backbones.common.user_files import in_file
from suite.config.run_spec import RunSpec
from suite.data import DATASETS
from suite.data.base import Dataset, IntArray
from suite.data.subset import scramble
from suite.plan.loading import Opened
from suite.stats.correctness import counted

USUAL = 256  # images, as many as there are if these are fewer
FEWEST = 16
SPLITS = ("dev", "train")


def calibration(
    what: str, instead: str, spec: RunSpec, opened: Opened, dataset: Dataset, evaluated: IntArray
) -> tuple[Dataset, IntArray]:
    """Images of another split than the run's, else of the same beside those `evaluated`.

    UserError if too few are left: `what` needs them, and what to do `instead`.
    """
    data, left = dataset, np.setdiff1d(np.arange(len(dataset)), evaluated)
    # Only the suite's own kinds of data are known to hold other images in another split.
    name = data_parts(spec.data)[0]
    own = not in_file(name) and DATASETS.origin(name) == BUILT_IN
    for split in SPLITS if own else ():
        try:
            other = opened.dataset(spec.model_copy(update={"split": split}))
        except (UserError, OSError):
            continue
        if other.split != dataset.split:
            data, left = other, np.arange(len(other))
            break
    if len(left) < FEWEST:
        raise UserError(
            f"{what} on images that are not evaluated, and {len(left)} are left without another "
            f"split: evaluate fewer (--images), or {instead}"
        )
    # In an order that knows no labels.
    return data, np.sort(left[np.argsort(scramble(left), kind="stable")[:USUAL]])


def calibration_batches(
    model: Backbone, data: Dataset, images: IntArray, batch_size: int
) -> Iterator[Tensor]:
    """The `images` of `data` as `model` takes them, of a video one clip, batch by batch."""
    samples = data.prepared_as(model.preprocessing).in_frames(model.frames).once()
    device = next(model.parameters()).device
    for first in range(0, len(images), batch_size):
        batch = samples.samples(images[first : first + batch_size], model.image_size)
        yield torch.from_numpy(batch).to(device)


def calibrated_on(images: int, kind: str, split: str, content: str) -> str:
    """The images in words, with the beginning of their hash."""
    return f"{counted(images, kind, split)}, none of them evaluated (hash {content[:8]})"

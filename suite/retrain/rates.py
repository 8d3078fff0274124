"""Choose the learning rate of a training by images that it is not trained on.

The training at each rate ends as any other: the one that is chosen is kept as it is, and never
trains on the held-out images.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from backbones.common.errors import UserError
from suite.retrain.files import Tried
from suite.training.images import TrainingImages
from suite.training.loop import Forward, Trainer, normalise


def tried(trainer: Trainer, images: TrainingImages) -> Tried:
    """What the weights that `trainer` would keep make of the held-out `images`.

    They are seen as an evaluation sees them, under each of the reductions that were trained under.
    """
    model = copy.deepcopy(trainer.model).eval()
    model.load_state_dict(trainer.ema)
    size, batch, count = model.image_size, trainer.recipe.batch, len(images.labels)
    total = torch.zeros(2, dtype=torch.float64)
    for reduction in trainer.lesson.reductions:
        forward = Forward(model, reduction, trainer.bf16)
        for start in range(0, count, batch):
            rows = np.arange(start, min(start + batch, count))
            pixels = torch.from_numpy(images.render(rows)).permute(0, 3, 1, 2)
            inputs = normalise(pixels.to(trainer.device), images, size).to(trainer.dtype)
            labels = torch.from_numpy(images.labels[rows])
            with torch.no_grad():
                logits = forward(inputs, torch.from_numpy(rows).to(trainer.device)).cpu()
            total[0] += F.cross_entropy(logits, labels, reduction="sum")
            total[1] += (logits.argmax(1) == labels).sum()
    loss, top1 = (total / (count * len(trainer.lesson.reductions))).tolist()
    rate = trainer.recipe.learning_rate
    if not math.isfinite(loss):
        return diverged(rate, images)
    return Tried(learning_rate=rate, loss=loss, top1=top1, images=count)


def diverged(rate: float, images: TrainingImages) -> Tried:
    """A training whose loss was no number any more."""
    return Tried(learning_rate=rate, loss=None, top1=None, images=len(images.labels))


def best(tries: Sequence[Tried], called: str) -> int:
    """The place of the lowest loss, the first of equal ones.

    UserError, in which the training is `called` so, if there is none.
    """
    losses = [math.inf if one.loss is None else one.loss for one in tries]
    place = losses.index(min(losses))
    if losses[place] == math.inf:
        raise UserError(
            f"{called}: the loss is no number any more at any rate: choose an --lr below "
            f"{min(one.learning_rate for one in tries):g}"
        )
    return place


def kept_words(one: Tried) -> str:
    """That one was chosen, and by what, in words."""
    return (
        f"rate {one.learning_rate:g} is kept, with a loss of {one.loss:.3f} on {one.images:,} "
        "held-out images"
    )

"""The images of a run: a sample of its split, without those that would flatter a result."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np

from backbones.base import Backbone
from backbones.common.errors import UserError
from suite.config.run_spec import RunSpec
from suite.data import stratified
from suite.data.base import UNDIVIDED, Dataset, IntArray
from suite.data.trained_on import seen_in_training, training_of
from suite.stats.correctness import counted

USUAL_IMAGES: int = RunSpec.model_fields["images"].default
Count = int | Literal["all"]
NONE = np.empty(0, np.int64)


def choose_images(
    dataset: Dataset, images: Count, usual: int = USUAL_IMAGES, without: IntArray | None = None
) -> IntArray:
    """Numbers of the images of the run, ascending: all, or a sample stratified by class.

    The `usual` number, which nobody may have asked for, is at most that many. Images `without`
    which it goes have picked settings. UserError if there are not as many.
    """
    without = NONE if without is None else without
    left = _left(dataset, without)
    if len(without) and len(left) < _asked(images, usual):
        divided = dataset.split != UNDIVIDED
        mend = "use another --split" if divided else "tune on fewer (tune --images)"
        raise UserError(
            f"{len(without):,} of the {_of(dataset)} picked the tuned settings and are no evidence "
            f"for them: {len(left):,} are left, fewer than asked for; {mend}, ask for fewer, or "
            "use --schedule constant-ratio"
        )
    return _sample(dataset, left, images, usual)


def choose_unseen(
    dataset: Dataset,
    images: Count,
    models: Iterable[Backbone],
    usual: int = USUAL_IMAGES,
    without: IntArray | None = None,
    trained_on: frozenset[str] = frozenset(),
) -> tuple[IntArray, int]:
    """`choose_images`, but none that a model was trained on, and how many were left out for it.

    Known are those of weights that carry a record of their training, as `train --data` writes, and
    the hashes of those that models are `trained_on` later.
    UserError if there are not as many.
    """
    chosen = choose_images(dataset, images, usual, without)
    known = set(trained_on)
    for model in models:
        training = training_of(model)
        known |= training.images if training else set()
    # Most runs have none, and where the split has none of them only the sample is read.
    if not known or not any(seen_in_training(dataset, chosen, frozenset(known))):
        return chosen, 0
    everything = np.arange(len(dataset))
    trained = everything[seen_in_training(dataset, everything, frozenset(known))]
    left = _left(dataset, trained if without is None else np.union1d(without, trained))
    if len(left) < _asked(images, usual):
        raise UserError(
            f"{len(trained):,} of the {_of(dataset)} are those that the weights were trained on, "
            f"and no evidence: {len(left):,} are left, fewer than asked for; use another --split "
            "or data, or ask for fewer (--images)"
        )
    return _sample(dataset, left, images, usual), len(trained)


def _of(dataset: Dataset) -> str:
    """How many images it has, in words."""
    return counted(len(dataset), dataset.kind, dataset.split)


def _left(dataset: Dataset, without: IntArray) -> IntArray:
    return np.setdiff1d(np.arange(len(dataset)), without)


def _asked(images: Count, usual: int) -> int:
    """How many images somebody asked for; at least one is always needed."""
    return images if isinstance(images, int) and images != usual else 1


def _sample(dataset: Dataset, left: IntArray, images: Count, usual: int) -> IntArray:
    if images == "all" or (images == usual and len(left) <= usual):
        return left
    return left[stratified(dataset.labels[left], images)]

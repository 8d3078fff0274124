"""A user's images, parted into those to train on and those held out to tell how well it went.

Splits of the data are taken as they are. Without them a part is held out by a fixed rule, and the
file of weights keeps hashes of the training images (`suite.data.trained_on`), by which a comparison
on the same folder leaves them out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from backbones.common.errors import UserError
from backbones.preprocessing import Preprocessing
from suite.config.run_spec import NOT_TRAINED
from suite.data import has_split, open_dataset
from suite.data.base import UNDIVIDED, Dataset, IntArray, OtherTaskError, digest
from suite.data.subset import scramble
from suite.data.trained_on import Training, hashes

TRAIN = "train"
# Splits that tell how well a training went, the first that there is.
HELD_OUT = ("val", "valid", "validation", "dev", "test")
SHARE = 0.2  # of the images that are held out where the data have no such split


@contextmanager
def of_images_alone() -> Iterator[None]:
    """Refuse classes of pixels because nothing is trained on them, not for want of ``--task``."""
    try:
        yield
    except OtherTaskError as error:
        raise UserError(f"{error.problem}: {NOT_TRAINED}") from None


@dataclass(frozen=True)
class OwnImages:
    """Training images: the ``rows`` of ``train``; and those of ``held_out``, ``held_rows``.

    ``split``   of the held-out images, None where the data have no splits
    ``record``  the classes, and hashes of the training images
    ``notes``   what was parted how, and what was left out
    """

    train: Dataset
    rows: IntArray
    held_out: Dataset
    held_rows: IntArray
    split: str | None
    record: Training
    notes: tuple[str, ...]

    @property
    def labels(self) -> IntArray:
        """Class of each training image."""
        return self.train.labels[self.rows]

    @property
    def beginning(self) -> str:
        """Digest of the training images in their order, with their classes."""
        return digest([self.record.classes, sorted(self.record.images), self.labels.tolist()])


def own_images(data: str, preprocessing: Preprocessing, source: str | None = None) -> OwnImages:
    """Open `data` as ``--data`` names it, with its `source` if it takes one, and part it.

    UserError for data that cannot be trained on: one class, classes without images, splits of other
    classes, or videos.
    """
    train = open_dataset(data, TRAIN, source=source).prepared_as(preprocessing)
    if train.kind != "images":
        raise UserError(f"'{data}' has videos: training takes images")
    if len(train.classes) < 2:
        raise UserError(
            f"'{train.name}' has a single class ({', '.join(train.classes)}), so there is nothing "
            "to learn: give images of at least two, a folder each"
        )
    split = held_out_split(data, train.split, source)
    everything = np.arange(len(train))
    if split is None:
        rows, held_rows = parted(train.labels, train.classes)
        held_out = train
    else:
        held_out = open_dataset(data, split, source=source).prepared_as(preprocessing)
        check_same_classes(train, held_out)
        rows, held_rows = everything, np.arange(len(held_out))
    check_present(train.classes, train.labels[rows], f"to train on in '{train.name}'")
    record = Training(train.classes, frozenset(hashes(train, rows.tolist())))
    # The same picture twice, under two names or in two splits, is no evidence.
    known = np.array([text in record.images for text in hashes(held_out, held_rows.tolist())])
    notes = [*train.notes, how_parted(train, split, len(rows), len(held_rows))]
    if known.any():
        notes.append(f"left out of the held-out images: {known.sum():,} that are trained on, too")
    held_rows = held_rows[~known]
    if not len(held_rows):
        raise UserError(
            f"all held-out images of '{train.name}' are trained on, too: hold out others"
        )
    own_split = None if train.split == UNDIVIDED else split or train.split
    return OwnImages(train, rows, held_out, held_rows, own_split, record, tuple(notes))


def held_out_split(data: str, trained: str, source: str | None = None) -> str | None:
    """The split of `data` beside the `trained` one that is held out; None without any."""
    if trained == UNDIVIDED:
        return None
    return next((split for split in HELD_OUT if has_split(data, split, source)), None)


def parted(labels: IntArray, classes: Sequence[str]) -> tuple[IntArray, IntArray]:
    """Rows to train on, and a `SHARE` of each class, at least one image, that is held out.

    The same labels are parted in the same way. UserError for a class with a single image.
    """
    counts = np.bincount(labels, minlength=len(classes))
    if (counts == 1).any():
        raise UserError(
            f"class '{classes[int((counts == 1).argmax())]}' has a single image, and one is to be "
            "trained on and one held out: add images, or make folders train and val yourself"
        )
    held: list[int] = []
    for label in range(len(classes)):
        own = np.flatnonzero(labels == label)
        order = np.argsort(scramble(own), kind="stable")
        count = max(1, round(SHARE * len(own)))
        held += own[order[:count]].tolist()
    return np.setdiff1d(np.arange(len(labels)), held), np.array(sorted(held))


def check_same_classes(train: Dataset, held_out: Dataset) -> None:
    """UserError unless both splits have the same classes, with an image each in the second."""
    lacking = [name for name in train.classes if name not in held_out.classes]
    foreign = [name for name in held_out.classes if name not in train.classes]
    if lacking or foreign:
        problem = f"lacks class '{lacking[0]}'" if lacking else f"has a class '{foreign[0]}'"
        which = "that" if lacking else "that is not in"
        has = " has" if lacking else ""
        raise UserError(
            f"split {held_out.split} of '{train.name}' {problem} {which} {train.split}{has}: give "
            "both the same class folders"
        )
    check_present(
        held_out.classes, held_out.labels, f"in split {held_out.split} of '{held_out.name}'"
    )


def check_present(classes: Sequence[str], labels: IntArray, where: str) -> None:
    """UserError unless every class has an image."""
    counts = np.bincount(labels, minlength=len(classes))
    if not counts.all():
        empty = classes[int(counts.argmin())]
        raise UserError(f"class '{empty}' has no images {where}: add some, or remove its folder")


def how_parted(train: Dataset, split: str | None, trained: int, held: int) -> str:
    """How the images were parted, in a sentence."""
    if split is not None:
        return f"trains on the {trained:,} images of {train.split}, held out: {held:,} of {split}"
    beside = "no splits" if train.split == UNDIVIDED else f"no split beside {train.split}"
    return (
        f"the data have {beside}: trains on {trained:,} images, {held:,} are held out, an even "
        "share of each class"
    )

"""The training images of a retraining: garments drawn anew, or the train split of other data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from backbones.base import Backbone
from backbones.common.errors import UserError
from backbones.common.labels import data_name
from backbones.preprocessing import Preprocessing
from suite.data import has_split, open_dataset, stratified
from suite.data.base import UNDIVIDED, IntArray, digest
from suite.data.images import clutter
from suite.data.images.sources import CLASSES
from suite.data.trained_on import Training
from suite.retrain.spec import RetrainSpec
from suite.training.images import ClutterImages, SomeImages, TrainingImages
from suite.training.own_images import TRAIN, OwnImages, own_images
from suite.training.pictures import Pictures, shrunken

TENTH = 10  # one training image in so many is held out to choose a learning rate by
MOST_HELD_OUT = 2000


@dataclass(frozen=True)
class DrawnData:
    """``fashion-clutter``: the garments ``rows``, on new canvases every epoch."""

    images: ClutterImages
    rows: IntArray
    augment: str = "none"

    @property
    def labels(self) -> IntArray:
        """Class of each of them."""
        return self.images.labels[self.rows]

    def at(self, places: IntArray) -> DrawnData:
        """Those at these places among them."""
        return replace(self, rows=self.rows[places])

    @property
    def record(self) -> Training:
        """The classes; garments are told apart by split, and their images are never the same."""
        return Training(CLASSES, frozenset())

    @property
    def identity(self) -> str:
        """Digest of the garments in their order."""
        return digest([self.images.garments.checksum(), self.rows.tolist()])

    def images_for(self, model: Backbone, crop: float, folder: Path) -> TrainingImages:
        """The images as the training loop reads them; nothing is cropped or written."""
        return SomeImages(self.images, self.rows)


@dataclass(frozen=True)
class SplitData:
    """A train split: pictures that are shrunken once and cropped anew every epoch."""

    own: OwnImages
    augment: str = "light"

    @property
    def rows(self) -> IntArray:
        """Numbers of the images that are trained on."""
        return self.own.rows

    @property
    def labels(self) -> IntArray:
        """Class of each of them."""
        return self.own.labels

    def at(self, places: IntArray) -> SplitData:
        """Those at these places among them."""
        return replace(self, own=replace(self.own, rows=self.rows[places]))

    @property
    def record(self) -> Training:
        """The classes, and hashes of all images of the split."""
        return self.own.record

    @property
    def identity(self) -> str:
        """Digest of the images in their order, with their classes."""
        return digest([self.own.beginning, self.own.rows.tolist()])

    def images_for(self, model: Backbone, crop: float, folder: Path) -> TrainingImages:
        """The images as the training loop reads them, shrunken into a file in `folder`."""
        train, size = self.own.train.prepared_as(model.preprocessing), model.image_size
        # Backbones of one run may differ in preprocessing: each has a file of its own.
        kind = digest([self.identity, repr(model.preprocessing)])[:16]
        pixels = shrunken(train, self.own.rows, size, folder / f"pictures-{kind}-{size}.npy")
        return Pictures(pixels, self.own.labels, train.mean, train.std, size, crop)


TrainingData = DrawnData | SplitData


def open_training_data(spec: RetrainSpec) -> TrainingData:
    """Open what `spec` trains on.

    UserError for data that have no images to train on beside those that are evaluated.
    """
    drawn = data_name(spec.data) == "fashion-clutter"
    if drawn and spec.split == TRAIN:
        raise UserError("--split train is what is trained on: evaluate dev or test")
    if drawn:
        # No training garments are bundled, so the full source is searched for.
        source = None if spec.source == "bundled" else spec.source
        images = ClutterImages(clutter.open_garments(TRAIN, source))
        return DrawnData(images, chosen(images.labels, spec.train_images))
    # First, so that a wrong path is called that, and not a missing split.
    evaluated = open_dataset(spec.data, spec.split, source=spec.source)
    if not has_split(spec.data, TRAIN, spec.source):
        raise UserError(
            f"'{spec.data}' has no split {TRAIN} to train on: add one beside {evaluated.split}, or "
            "give data that have one"
        )
    # Any preprocessing will do: `images_for` sets each backbone's own.
    own = own_images(spec.data, Preprocessing(), spec.source)
    # Undivided data are parted by image, and a comparison leaves out those trained on.
    if own.train.split != UNDIVIDED and spec.split == own.train.split:
        raise UserError(f"--split {spec.split} is what is trained on: evaluate another")
    rows = own.rows[chosen(own.labels, spec.train_images)]
    return SplitData(replace(own, rows=rows))


def parted(data: TrainingData) -> tuple[TrainingData, TrainingData]:
    """What is trained on, and what is held out of it to choose a learning rate by.

    Of each class as many as of the others are held out, as far as there are so many, and one at
    least. UserError if more would be held out than trained on.
    """
    labels = data.labels
    count = max(len(np.unique(labels)), min(len(labels) // TENTH, MOST_HELD_OUT))
    if 2 * count > len(labels):
        raise UserError(
            f"{len(labels)} training images are too few to hold {count} out, which choose among "
            f"the rates of --lr: give at least {2 * count} by --train-images, or a single rate"
        )
    held_out = stratified(labels, count)
    return data.at(np.setdiff1d(np.arange(len(labels)), held_out)), data.at(held_out)


def chosen(labels: IntArray, count: int | Literal["all"]) -> IntArray:
    """Numbers of `count` training images, stratified by class, or of all, ascending."""
    if count == "all":
        return np.arange(len(labels))
    return stratified(labels, count)

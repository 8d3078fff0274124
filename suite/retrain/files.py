"""The files of a training in a run folder: its state while it lasts, then weights and a record."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError

from backbones.common.errors import UserError
from suite.retrain.prepare import Training
from suite.store.schema import Retrained, Stored, read_object
from suite.system.atomic_files import write_json

WEIGHTS = "weights"  # folder of finished weights and their records
STATES = "training"  # folder of what only an unfinished training needs


class Tried(Stored):
    """A training at one learning rate, told by images that it was not trained on."""

    learning_rate: float
    """largest learning rate"""
    loss: float | None
    """cross-entropy, nats, mean over the images and budgets; empty where training diverged"""
    top1: float | None
    """share of them whose class is named right, likewise"""
    images: int
    """held-out images"""


class Finished(Stored):
    """A finished training: ``weights/NAME.json``."""

    fingerprint: str
    """hash of its recipe, images, first weights and reductions"""
    sha256: str
    """SHA-256 of the file of weights"""
    tried: list[Tried] = Field(default_factory=list)
    """the rates among which held-out images chose; empty where one was given"""
    curve: list[list[float]]
    """loss and top-1 on the training images of each epoch"""
    retrained: Retrained
    """what it was"""
    seconds: float
    """time that it took, at all rates"""
    hardware: str
    """what it ran on"""


@dataclass(frozen=True)
class Files:
    """Where the files of a training are in the folder of a run."""

    folder: Path
    training: Training

    @property
    def weights(self) -> Path:
        """The finished weights."""
        return self.folder / WEIGHTS / f"{self.training.name}.safetensors"

    @property
    def record(self) -> Path:
        """The record of the finished training, written after the weights."""
        return self.weights.with_suffix(".json")

    @property
    def states(self) -> Path:
        """The folder of what an unfinished training resumes from."""
        return self.folder / STATES / self.training.name

    def state(self, rate: float) -> Path:
        """The folder of the state at one learning rate."""
        return self.states / str(rate)

    def write_record(self, finished: Finished) -> None:
        """Write the record, which says that the weights are finished."""
        write_json(self.record, finished.model_dump(mode="json"))

    def finished(self, fingerprint: str) -> Finished | None:
        """The record of a training that is over; None if it is not.

        UserError for weights that were changed, or that are of a training with another
        `fingerprint`.
        """
        # Weights without a record are those of a process that died between the two.
        if not (self.weights.is_file() and self.record.is_file()):
            return None
        try:
            finished = Finished.model_validate(read_object(self.record))
        except ValidationError:
            raise UserError(f"'{self.record}' is damaged: delete it to train anew") from None
        if finished.fingerprint != fingerprint:
            raise UserError(
                f"'{self.weights}' was trained from other weights, on other images or by another "
                "version: delete it to train anew, or choose another --name"
            )
        # After the cheap checks, since it reads the whole file.
        if finished.sha256 != sha256(self.weights):
            raise UserError(f"'{self.weights}' is torn or was changed: delete it to train anew")
        return finished


def sha256(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

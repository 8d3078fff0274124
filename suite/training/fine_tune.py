"""Fine-tuning on a user's images: the recipe that options make, and the time that it takes."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from backbones import create_model, own_weights
from backbones.base import Backbone
from backbones.common.errors import UserError, describe_error
from backbones.common.labels import data_name
from suite.plan.loading import check_runs
from suite.training.augment import NONE, Augmentation
from suite.training.distributed import ProcessGroup
from suite.training.first_weights import first_model
from suite.training.loop import Trainer
from suite.training.own_images import OwnImages, of_images_alone, own_images
from suite.training.pictures import Pictures, shrunken
from suite.training.recipes import Phase, Recipe

AUGMENTATIONS = ("none", "light", "strong")
PRECISIONS = ("fp32", "bf16")
SMALLEST_CROP = {"none": 1.0, "light": 0.5, "strong": 0.25}
# Most of what DeiT is trained with (arXiv 2012.12877, table 9); crops are those of `SMALLEST_CROP`.
STRONG = Augmentation(operations=2, erasing=0.25, mixup=0.8, cutmix=1.0, mixed=0.8)
# Drawn weights bear larger steps than trained ones.
RATES = {False: 1e-3, True: 2e-3}
BATCHES = (64, 32, 16, 8)
STEPS = 10  # of an epoch at least, where a batch of the fewest images allows it
TIMED = 8  # images whose step is timed
RESUMED_IN = ".training"  # what the folder of an unfinished training is called after its file


def usual_batch(images: int) -> int:
    """The largest usual batch that leaves an epoch of so many `images` enough steps."""
    for batch in BATCHES:
        if images // batch >= STEPS:
            return batch
    return BATCHES[-1]


@dataclass(frozen=True)
class FineTuning:
    """What a user asks for; None is the usual value.

    ``backbone``  name or ``file.py:NAME``, settings in brackets, ``weights=FILE`` among them
    ``data``      as after ``--data``
    ``out``       the file of weights
    ``scratch``   whether to begin with drawn weights
    ``augment``   one of `AUGMENTATIONS`
    """

    backbone: str
    data: str
    out: Path
    scratch: bool = False
    epochs: int = 20
    learning_rate: float | None = None
    batch: int | None = None
    augment: str = "light"
    precision: str = "fp32"

    def __post_init__(self) -> None:
        """UserError for a value that cannot be, or a file that cannot be written."""
        rate = self.learning_rate
        if rate is not None and not (rate > 0 and math.isfinite(rate)):
            raise UserError(f"--lr cannot be {rate}: give a number above 0, such as 0.001")
        for flag, value, allowed in (
            ("--augment", self.augment, AUGMENTATIONS),
            ("--precision", self.precision, PRECISIONS),
        ):
            if value not in allowed:
                raise UserError(f"{flag} cannot be '{value}': use {' or '.join(allowed)}")
        if self.out.is_dir():
            raise UserError(f"{self.out} is a folder: name a file with --out")
        if self.out.suffix != ".safetensors":
            raise UserError(f"{self.out} is no name for weights: let it end in .safetensors")
        if self.out.exists():
            raise UserError(f"{self.out} exists: move it away, or name another with --out")

    @property
    def folder(self) -> Path:
        """The folder of the resumable state, beside the file."""
        return self.out.with_suffix(RESUMED_IN)

    def recipe(self, images: OwnImages, size: int) -> Recipe:
        """The recipe for these images at `size` pixels; no batch has more images than there are."""
        rate = self.learning_rate or RATES[self.scratch]
        return Recipe(
            # Weights and paths are told apart by what they hold.
            backbone=own_weights(self.backbone)[0],
            dataset=data_name(self.data),
            phases=(Phase(size, self.epochs),),
            batch=min(self.batch or usual_batch(len(images.rows)), len(images.rows)),
            learning_rate=rate,
            minimum_rate=rate / 100,
            warmup_epochs=min(5.0, self.epochs / 10),
            label_smoothing=0.1,
            horizontal_flip=self.augment != "none",
            augmentation=STRONG if self.augment == "strong" else NONE,
            drop_path=0.1 if self.augment == "strong" else 0.0,
            precision=self.precision,
        )


@dataclass(frozen=True)
class Prepared:
    """A fine-tuning that can begin or go on: its images, its trainer, and how the weights begin."""

    wish: FineTuning
    images: OwnImages
    trainer: Trainer
    begins_with: str

    @property
    def notes(self) -> list[str]:
        """What a user should know before it starts."""
        recipe, trainer = self.trainer.recipe, self.trainer
        notes = [*self.images.notes, f"begins with {self.begins_with}"]
        if self.wish.batch and recipe.batch < self.wish.batch:
            notes.append(f"batches have {recipe.batch} images: there are no more")
        if trainer.batches.left_out:
            notes.append(trainer.batches.left_out)
        if trainer.done.epoch:
            notes.append(f"goes on after epoch {trainer.done.epoch} of {recipe.epochs}")
        return notes

    @property
    def work(self) -> str:
        """How much there is to train, in words."""
        return f"{self.trainer.work} at {self.trainer.recipe.phases[0].image_size} px"


@of_images_alone()
def prepare(
    wish: FineTuning, device: str, workers: int, kernel: str, group: ProcessGroup
) -> Prepared:
    """Open images and weights, and resume what was begun; UserError for what cannot be used."""
    bare, _ = own_weights(wish.backbone)
    # The name alone says how images are prepared; how many classes there are, only the images.
    untrained = create_model(bare)
    size = untrained.image_size
    images = own_images(wish.data, untrained.preprocessing)
    recipe = wish.recipe(images, size)
    torch.manual_seed(recipe.seed)
    model, begins_with = first_model(wish.backbone, images.record.classes, wish.scratch, kernel)
    if model.code is not None:
        check_runs(model, "cpu")
        check_learns(model)
    with group.main_first():
        file = wish.folder / f"pictures-{images.beginning[:16]}-{size}.npy"
        pixels = shrunken(images.train, images.rows, size, file)
    check_steps(len(images.rows), recipe.batch, recipe.epochs, "more --epochs, or --batch-size")
    data = images.train
    crop = SMALLEST_CROP[wish.augment]
    pictures = Pictures(pixels, images.labels, data.mean, data.std, size, crop, recipe.seed)
    beginning = f"{images.beginning} {crop} {begins_with}"
    trainer = Trainer(
        recipe, pictures, wish.folder, device, workers, kernel, group, lambda: model, beginning
    )
    return Prepared(wish, images, trainer, begins_with)


def check_steps(images: int, batch: int, epochs: int, mend: str) -> None:
    """UserError if there is but one step, which changes no weight: the warm-up begins at 0."""
    if epochs * (images // batch) < 2:
        raise UserError(
            f"{images} training images are one step of {batch}, at which the learning rate is "
            f"still 0: give {mend} {max(1, batch // 4)}"
        )


def check_learns(model: Backbone) -> None:
    """UserError unless a third party's model takes a loss on the CPU back to its parameters."""
    # Two images, since a norm over the batch has no meaning for one.
    images = torch.zeros(2, model.describe().channels, model.image_size, model.image_size)
    try:
        copied = copy.deepcopy(model).train()
        with torch.random.fork_rng():
            logits = copied(images)
            torch.autograd.backward(F.cross_entropy(logits, torch.zeros(2, dtype=torch.long)))
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"backbone '{model.name}' answers, but cannot be trained ({describe_error(error)}): "
            "let it compute its logits by operations that have gradients, outside torch.no_grad "
            "and not in place"
        ) from error
    if all(parameter.grad is None for parameter in copied.parameters()):
        raise UserError(
            f"no parameter of backbone '{model.name}' has a gradient: let its logits depend on "
            "parameters that are not detached or frozen"
        )


def seconds_left(trainer: Trainer) -> float:
    """Seconds that the remaining steps take, by one step on few images, after a warm-up.

    The model is a copy: neither weights nor random numbers of the training change.
    """
    recipe = trainer.recipe
    rows = min(TIMED, recipe.batch)
    if trainer.device.startswith("cuda"):
        # A GPU takes as long for a few images as for many.
        rows = recipe.batch // trainer.group.size
    labels = torch.zeros(rows, dtype=torch.long, device=trainer.device)
    size = recipe.phases[0].image_size
    images = torch.zeros(rows, 3, size, size, device=trainer.device, dtype=trainer.dtype)
    step, seconds = trainer.rehearsal(), 0.0
    with torch.random.fork_rng():
        for _ in range(2):
            started = time.perf_counter()
            step(images, labels)
            if trainer.device.startswith("cuda"):
                torch.cuda.synchronize()
            seconds = (time.perf_counter() - started) / len(trainer.lesson.reductions)
    started = time.perf_counter()
    trainer.dataset.render(np.arange(rows), variant=1)
    drawing = time.perf_counter() - started
    # Worker processes draw while the model computes.
    seconds = max(seconds, drawing / trainer.workers) if trainer.workers else seconds + drawing
    steps = (recipe.epochs - trainer.done.epoch) * trainer.batches.per_epoch
    return seconds * recipe.batch / rows / trainer.group.size * steps

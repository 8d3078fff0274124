"""Training batches of augmented images, each determined by seed, epoch and number alone."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from suite.stats.correctness import counted
from suite.training.augment import seed_of
from suite.training.distributed import ProcessGroup
from suite.training.images import TrainingImages
from suite.training.recipes import Recipe

TrainingBatch = tuple[Tensor, Tensor]
BatchNumber = tuple[int, int]  # epoch, and batch in it


class Batches(TorchDataset[TrainingBatch]):
    """The batches of a recipe, of which each process takes its rows.

    Each epoch shows a new variant of every training image.
    """

    def __init__(self, dataset: TrainingImages, recipe: Recipe, group: ProcessGroup) -> None:
        self.dataset, self.recipe = dataset, recipe
        self.rows = group.rows(recipe.batch)
        self._epoch, self._order = -1, np.empty((0, 0), np.int64)

    @property
    def per_epoch(self) -> int:
        """Batches in an epoch; images that fill no batch are left out."""
        return len(self.dataset.labels) // self.recipe.batch

    @property
    def left_out(self) -> str:
        """How many images an epoch leaves out, in a sentence; empty if all fill batches."""
        count = len(self.dataset.labels) % self.recipe.batch
        if not count:
            return ""
        fill = "fills" if count == 1 else "fill"
        others = "" if self.recipe.epochs == 1 else ", others each time"
        return (
            f"an epoch leaves out {counted(count)}, which {fill} no batch of {self.recipe.batch}"
            f"{others}"
        )

    def numbers_from(self, epoch: int) -> list[BatchNumber]:
        """The numbers of all batches from `epoch` on."""
        numbers = []
        for later in range(epoch, self.recipe.epochs):
            for index in range(self.per_epoch):
                numbers.append((later, index))
        return numbers

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The shuffled images of an epoch's batches, (batches, batch)."""
        if epoch != self._epoch:
            generator = np.random.default_rng([self.recipe.seed, epoch])
            # Of numpy, whose stream is the same on every device.
            shuffled = generator.permutation(len(self.dataset.labels))
            used = shuffled[: self.per_epoch * self.recipe.batch]
            self._order = used.reshape(-1, self.recipe.batch)
            self._epoch = epoch
        return self._order

    def __getitem__(self, number: BatchNumber) -> TrainingBatch:
        """Images (B, 3, H, W) uint8 and labels (B,), B the rows of this process."""
        epoch, index = number
        seed = self.recipe.seed
        whole = self.order(epoch)[index]
        chosen = whole[self.rows]
        # Variant 0 is the data set as it is evaluated.
        images = self.dataset.render(chosen, variant=epoch + 1)
        if self.recipe.horizontal_flip:
            # Drawn for the whole batch, so that an image does not depend on the processes.
            flip = np.random.default_rng([seed, epoch, index]).random(len(whole)) < 0.5
            flipped = flip[self.rows]
            images[flipped] = images[flipped][:, :, ::-1]
        batch = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
        augment = self.recipe.augmentation.of_image(batch.shape[-1])
        if augment is not None:
            rows = np.arange(len(whole))[self.rows]
            # The global generator is the training loop's own, in a run without workers.
            with torch.random.fork_rng(devices=[]):
                for row, image in zip(rows, batch, strict=True):
                    # `torch.manual_seed` would seed those of all GPUs, too.
                    torch.default_generator.manual_seed(seed_of(seed, epoch, index, row))
                    image.copy_(augment(image))
        return batch, torch.from_numpy(self.dataset.labels[chosen])

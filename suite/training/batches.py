"""What training is fed: whole batches of altered images, each drawn from seed, epoch and place alone."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from suite.training.distributed import Ranks
from suite.training.images import TrainingImages
from suite.training.recipes import Recipe

Batch = tuple[Tensor, Tensor]
Place = tuple[int, int]  # epoch, and batch in it


class Batches(TorchDataset[Batch]):
    """A new variant of every training image in each epoch; of every batch the share of one process."""

    def __init__(self, dataset: TrainingImages, recipe: Recipe, ranks: Ranks) -> None:
        self.dataset, self.recipe = dataset, recipe
        self.share = ranks.share(recipe.batch)
        self._epoch, self._order = -1, np.empty((0, 0), np.int64)

    @property
    def per_epoch(self) -> int:
        """Batches in an epoch; the images that fill no batch are left out of it."""
        return len(self.dataset.labels) // self.recipe.batch

    def places(self, epoch: int) -> list[Place]:
        """The places of all batches from `epoch` on."""
        return [
            (later, index)
            for later in range(epoch, self.recipe.epochs)
            for index in range(self.per_epoch)
        ]

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The images of an epoch's batches (batches, batch), shuffled anew for each."""
        if epoch != self._epoch:
            drawn = np.random.default_rng([self.recipe.seed, epoch]).permutation(
                len(self.dataset.labels)
            )
            self._order = drawn[: self.per_epoch * self.recipe.batch].reshape(-1, self.recipe.batch)
            self._epoch = epoch
        return self._order

    def __getitem__(self, place: Place) -> Batch:
        """Images (B, 3, H, W) uint8 and labels (B,), B the share of the batch."""
        epoch, index = place
        whole = self.order(epoch)[index]
        chosen = whole[self.share]
        images = self.dataset.render(chosen, variant=epoch + 1)
        if self.recipe.horizontal_flip:
            flip = np.random.default_rng([self.recipe.seed, epoch, index]).random(len(whole)) < 0.5
            images[flip[self.share]] = images[flip[self.share]][:, :, ::-1]
        batch = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
        alter = self.recipe.augmentation.of_image(batch.shape[-1])
        if alter is not None:
            numbers = np.arange(len(whole))[self.share]
            with torch.random.fork_rng(devices=[]):
                for number, image in zip(numbers, batch, strict=True):
                    torch.manual_seed(seed_of(self.recipe.seed, epoch, index, number))
                    image.copy_(alter(image))
        return batch, torch.from_numpy(self.dataset.labels[chosen])


def seed_of(*numbers: int) -> int:
    """A seed for torch's generator from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])

"""Augmentation of natural images, by the implementations of torchvision.

Crops, operations and erasing belong to one image and are drawn where images are prepared, by the
worker processes; mixing belongs to a batch. All of it draws from torch's generator, which the
training loop seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2


@dataclass(frozen=True)
class Augmentation:
    """Settings of the augmentation; the defaults leave images as they are.

    ``smallest_crop``  least share of the area that a random crop keeps, before it is resized to
                       the whole; 1: no crop
    ``operations``     of RandAugment (Cubuk et al. 2020), at its usual magnitude of 9
    ``erasing``        probability of a random grey rectangle (Zhong et al. 2020)
    ``mixup``, ``cutmix``  parameters of their beta distributions (Zhang et al. 2018, Yun et al.
                       2019); 0: without
    ``mixed``          share of batches that are mixed, by either with equal probability
    """

    smallest_crop: float = 1.0
    operations: int = 0
    erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    mixed: float = 1.0

    def of_image(self, size: int) -> Callable[[Tensor], Tensor] | None:
        """A transform of one image (3, size, size) uint8; None if there is nothing to do."""
        transforms: list[v2.Transform] = []
        if self.smallest_crop < 1:
            scale = (self.smallest_crop, 1.0)
            transforms.append(v2.RandomResizedCrop(size, scale=scale, antialias=True))
        if self.operations:
            transforms.append(v2.RandAugment(self.operations))
        if self.erasing:
            # Grey of 128 is near zero once images are normalised.
            transforms.append(v2.RandomErasing(self.erasing, value=128))
        return v2.Compose(transforms) if transforms else None

    def of_batch(self, classes: int) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """A transform of images (B, 3, S, S) and labels (B,).

        Labels of a mixed batch are shares of the classes (B, classes).
        """
        transforms: list[v2.Transform] = []
        if self.mixup:
            transforms.append(v2.MixUp(alpha=self.mixup, num_classes=classes))
        if self.cutmix:
            transforms.append(v2.CutMix(alpha=self.cutmix, num_classes=classes))

        def mix(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            # Without mixing nothing is drawn, so that such recipes keep their random numbers.
            if not transforms or float(torch.rand(())) >= self.mixed:
                return images, labels
            transform = transforms[int(torch.randint(len(transforms), ()))]
            mixed: tuple[Tensor, Tensor] = transform(images, labels)
            return mixed

        return mix


NONE = Augmentation()


def seed_of(*numbers: int) -> int:
    """A seed for torch's generator from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])

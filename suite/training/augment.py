"""What is done to natural images before a model learns from them, by implementations of torchvision.

Crops, flips, colours and erasing belong to one image and are drawn where images are prepared, by
the worker processes; mixing belongs to a batch. All of it draws from torch's generator, which the
training loop sets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms import v2


@dataclass(frozen=True)
class Augmentation:
    """How far training images depart from their originals; the defaults leave them alone.

    ``smallest_crop``  least share of the area that a random crop keeps before it is resized to the whole; 1: no crop
    ``operations``     of RandAugment (Cubuk et al. 2020), at its usual magnitude of 9
    ``erasing``        probability of a random rectangle made grey (Zhong et al. 2020)
    ``mixup``, ``cutmix``  parameters of their beta distributions (Zhang et al. 2018, Yun et al. 2019); 0: without
    ``mixed``          share of batches that are mixed, by either with equal probability where both are there
    """

    smallest_crop: float = 1.0
    operations: int = 0
    erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    mixed: float = 1.0

    def of_image(self, size: int) -> Callable[[Tensor], Tensor] | None:
        """A function of one image (3, size, size) uint8; None where nothing is to be done."""
        parts: list[v2.Transform] = []
        if self.smallest_crop < 1:
            parts.append(
                v2.RandomResizedCrop(size, scale=(self.smallest_crop, 1.0), antialias=True)
            )
        if self.operations:
            parts.append(v2.RandAugment(self.operations))
        if self.erasing:
            parts.append(v2.RandomErasing(self.erasing, value=128))
        return v2.Compose(parts) if parts else None

    def of_batch(self, classes: int) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """A function of images (B, 3, S, S) and labels (B,); mixed labels are shares (B, classes)."""
        mixing: list[v2.Transform] = []
        if self.mixup:
            mixing.append(v2.MixUp(alpha=self.mixup, num_classes=classes))
        if self.cutmix:
            mixing.append(v2.CutMix(alpha=self.cutmix, num_classes=classes))

        def mix(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            if not mixing or float(torch.rand(())) >= self.mixed:
                return images, labels
            chosen = mixing[int(torch.randint(len(mixing), ()))]
            mixed: tuple[Tensor, Tensor] = chosen(images, labels)
            return mixed

        return mix


NONE = Augmentation()

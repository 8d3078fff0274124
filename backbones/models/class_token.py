"""Vision Mambas with one class token, whose place the family decides."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backbones.base import check_image_size
from backbones.layers.batch_invariant import per_image_linear
from backbones.layers.patches import PatchEmbed
from backbones.layers.positions import resample_grid
from backbones.models.sizes import SequenceConfig
from backbones.models.vision_mamba import VisionMamba, initialise
from backbones.sequence import TokenSequence, new_sequence


class ClassTokenMamba(VisionMamba):
    """A vision Mamba with a class token among the patches and one position embedding for all."""

    def __init__(
        self, name: str, config: SequenceConfig, patch_embed: PatchEmbed | None = None
    ) -> None:
        """`patch_embed` replaces the patch embedding of images, for clips."""
        embed = patch_embed or PatchEmbed(config.patch, config.stride, config.dim)
        # the head reads the class token alone
        super().__init__(name, config, embed, head_width=config.dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, config.grid**2 + 1, config.dim))
        initialise(self, self.cls_token, self.pos_embed)

    @staticmethod
    def class_place_of(patches: int) -> int:
        """How many of `patches` patch tokens precede the class token."""
        raise NotImplementedError

    @property
    def special_places(self) -> tuple[int, ...]:
        """The index of the class token."""
        return (self.class_place_of(self.config.grid**2),)

    def embed(self, images: Tensor, image_index: Tensor | None = None) -> TokenSequence:
        """(B, 3, S, S) normalised images to patch tokens with the class token among them."""
        check_image_size(images, self.image_size, self.name)
        patches = self.patch_embed(images.to(self.cls_token.dtype))
        cls = self.cls_token.expand(patches.shape[0], -1, -1)
        (place,) = self.special_places
        before, after = patches[:, :place], patches[:, place:]
        tokens = torch.cat([before, cls, after], dim=1)
        # the embedding has a row for the class token as well
        tokens = tokens + self.pos_embed
        return new_sequence(tokens, [place], self.grid, image_index)

    def readout(self, tokens: TokenSequence) -> Tensor:
        """Logits (B, classes) of each image's class token."""
        # found by its index: reductions move it
        cls = self.specials_of(tokens).squeeze(1)
        return per_image_linear(cls.to(self.head.weight.dtype), self.head)

    def positions_here(self, positions: Tensor) -> Tensor | None:
        """Resample a position embedding (1, n + 1, C) to this model's grid.

        None if its n patches form no square.
        """
        return resample_grid(positions, self.config.grid, self.class_place_of)

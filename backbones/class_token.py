"""Vision Mambas with one class token, whose place a family gives."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor, nn

from backbones.base import check_image_size, per_image_linear
from backbones.patches import PatchEmbed
from backbones.positions import interpolate_pos_embed
from backbones.sequence import TokenSequence, new_sequence
from backbones.vision_mamba import MambaConfig, VisionMamba, initialise


class ClassTokenMamba(VisionMamba):
    """A vision Mamba whose class token stands at `class_place_of` the patches, under one position embedding."""

    pos_embed: Tensor

    def __init__(self, name: str, config: MambaConfig, patch_embed: PatchEmbed | None = None) -> None:
        """`patch_embed` takes the place of that for images."""
        embed = patch_embed or PatchEmbed(config.patch, config.stride, config.dim)
        super().__init__(name, config, embed, config.dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, config.grid**2 + 1, config.dim))
        initialise(self, self.cls_token, self.pos_embed)

    @staticmethod
    def class_place_of(patches: int) -> int:
        """Number of patch tokens that stand before the class token, of `patches`."""
        raise NotImplementedError

    @property
    def class_place(self) -> int:
        """Where the class token stands in the unreduced sequence of one image."""
        return self.class_place_of(self.config.grid**2)

    @property
    def special_places(self) -> tuple[int, ...]:
        """Where the class token stands."""
        return (self.class_place,)

    def embed(self, images: Tensor, image_index: Tensor | None = None) -> TokenSequence:
        """(B, 3, S, S) normalised images to patch tokens with the class token in its place."""
        check_image_size(images, self.image_size, self.name)
        patches = self.patch_embed(images.to(self.cls_token.dtype))
        cls = self.cls_token.expand(patches.shape[0], -1, -1)
        place = self.class_place
        tokens = torch.cat([patches[:, :place], cls, patches[:, place:]], dim=1) + self.pos_embed
        return new_sequence(tokens, [place], self.grid, image_index)

    def readout(self, tokens: TokenSequence) -> Tensor:
        """Logits (B, classes) read at the class token of each image, wherever it stands."""
        return per_image_linear(self.specials_of(tokens).squeeze(1).to(self.head.weight.dtype), self.head)

    def resized(self, image_size: int) -> Self:
        """The same weights for square images of another size, position embedding interpolated."""
        other = copy.copy(self)
        other.config = replace(self.config, image_size=image_size)
        other.image_size = image_size
        old, new = self.config.grid, other.config.grid
        # a plain tensor, so that in training the gradient flows to the one embedding that is learned
        other._parameters = {name: value for name, value in self._parameters.items() if name != "pos_embed"}
        other.pos_embed = interpolate_pos_embed(
            self.pos_embed, self.class_place, (old, old), other.class_place, (new, new)
        )
        return other

"""Vision Mambas with one class token, whose place a family gives."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backbones.base import check_image_size
from backbones.layers.batch_invariant import per_image_linear
from backbones.layers.patches import PatchEmbed
from backbones.layers.positions import interpolate_pos_embed, side_of
from backbones.models.vision_mamba import MambaConfig, VisionMamba, initialise
from backbones.sequence import TokenSequence, new_sequence


class ClassTokenMamba(VisionMamba):
    """A vision Mamba whose class token stands at `class_place_of` the patches, under one position embedding."""

    def __init__(
        self, name: str, config: MambaConfig, patch_embed: PatchEmbed | None = None
    ) -> None:
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
        return per_image_linear(
            self.specials_of(tokens).squeeze(1).to(self.head.weight.dtype), self.head
        )

    def positions_here(self, positions: Tensor) -> Tensor | None:
        """A position embedding (1, n + 1, C) of another square grid on this model's; None if it is of no square."""
        side, grid = side_of(positions.shape[1] - 1), self.config.grid
        if side is None:
            return None
        place = self.class_place_of(side**2)
        return interpolate_pos_embed(positions, place, (side, side), self.class_place, (grid, grid))

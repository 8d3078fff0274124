"""Mamba-Reg (Mamba with registers).

Wang et al., "Mamba-R: Vision Mamba Also Needs Registers", CVPR 2025, arXiv 2405.14858.

Vim's blocks; instead of one class token several registers, spread evenly through the sequence, all
of which the head reads: each is narrowed by a shared linear layer (the neck), and the results are
concatenated.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from backbones.base import check_image_size
from backbones.common.errors import UserError
from backbones.layers.batch_invariant import per_image_linear
from backbones.layers.norm import RMSNorm
from backbones.layers.patches import PatchEmbed
from backbones.layers.positions import resample_grid
from backbones.models.sizes import MAMBAREG, RegisterConfig
from backbones.models.vision_mamba import VisionMamba, configured, initialise
from backbones.sequence import TokenSequence, new_sequence
from backbones.shape import Shape


class MambaReg(VisionMamba):
    """Mamba-Reg; every register is a special token."""

    config: RegisterConfig

    def __init__(self, name: str, config: RegisterConfig) -> None:
        narrow = config.dim // config.reduce
        # the head reads all registers side by side
        width = config.registers * narrow
        super().__init__(name, config, PatchEmbed(config.patch, config.stride, config.dim), width)
        self.cls_token = nn.Parameter(torch.zeros(1, config.registers, config.dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, config.grid**2, config.dim))
        self.pos_embed_cls = nn.Parameter(torch.zeros(1, config.registers, config.dim))
        embeddings: list[Tensor] = [self.cls_token, self.pos_embed, self.pos_embed_cls]
        if config.reduce > 1:
            self.neck = nn.Linear(config.dim, narrow, bias=False)
            self.norm_neck = RMSNorm(width)
            embeddings.append(self.neck.weight)
        initialise(self, *embeddings)

    @property
    def special_places(self) -> tuple[int, ...]:
        """The indices of the registers, evenly spread."""
        spacing = self.config.spacing
        # one register takes a place of its own after each stretch of patches
        return tuple(spacing + i * (spacing + 1) for i in range(self.config.registers))

    def embed(self, images: Tensor, image_index: Tensor | None = None) -> TokenSequence:
        """(B, 3, S, S) normalised images to patch tokens with the registers between them."""
        check_image_size(images, self.image_size, self.name)
        config = self.config
        patches = self.patch_embed(images.to(self.cls_token.dtype)) + self.pos_embed
        registers = (self.cls_token + self.pos_embed_cls).expand(len(images), -1, -1)
        # a stretch of patches before each register, and the rest behind the last one
        rest = config.grid**2 - config.registers * config.spacing
        lengths = [config.spacing] * config.registers + [rest]
        *stretches, last = patches.split(lengths, dim=1)
        pieces: list[Tensor] = []
        for stretch, register in zip(stretches, registers.split(1, dim=1), strict=True):
            pieces += [stretch, register]
        tokens = torch.cat([*pieces, last], dim=1)
        return new_sequence(tokens, self.special_places, self.grid, image_index)

    def readout(self, tokens: TokenSequence) -> Tensor:
        """Logits (B, classes) of each image's registers."""
        registers = self.specials_of(tokens)
        if self.config.reduce > 1:
            narrowed = per_image_linear(registers, self.neck)
            joined = self.norm_neck(narrowed.flatten(1))
        else:
            joined = registers.flatten(1)
        return per_image_linear(joined.to(self.head.weight.dtype), self.head)

    def positions_here(self, positions: Tensor) -> Tensor | None:
        """Resample a position embedding (1, n, C) to this model's grid; None if n is no square."""
        return resample_grid(positions, self.config.grid)

    def describe(self) -> Shape:
        """The sizes from which FLOPs follow."""
        config = self.config
        neck = config.dim // config.reduce if config.reduce > 1 else 0
        return replace(super().describe(), read=config.registers, neck=neck)


def create(name: str, **overrides: Any) -> MambaReg:
    """Build the Mamba-Reg called `name`, with any field of its `RegisterConfig` overridden."""
    config = configured(MAMBAREG, name, overrides)
    if config.dim % config.reduce:
        raise UserError(
            f"{name} cannot narrow {config.dim} channels {config.reduce} times: "
            "use a divisor as reduce"
        )
    return MambaReg(name, config)

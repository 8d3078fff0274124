"""Mamba-Reg (Mamba with registers).

Wang et al., "Mamba-R: Vision Mamba Also Needs Registers", CVPR 2025, arXiv 2405.14858.

Vim's blocks; instead of one class token several registers, spread evenly through the sequence, all
of which the head reads: each is narrowed by a shared linear layer (the neck), and what comes out is
put side by side.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from backbones.base import check_image_size
from backbones.common.errors import UserError
from backbones.layers.batch_invariant import per_image_linear
from backbones.layers.norm import RMSNorm
from backbones.layers.patches import PatchEmbed
from backbones.layers.positions import resample_positions, side_of
from backbones.models.vision_mamba import MambaConfig, VisionMamba, configured, initialise
from backbones.sequence import TokenSequence, new_sequence
from backbones.shape import Shape


@dataclass(frozen=True)
class RegisterConfig(MambaConfig):
    """One size of a model: how many registers, and by how much the neck narrows each (1: there is no neck)."""

    registers: int = 12
    reduce: int = 1

    @property
    def spacing(self) -> int:
        """Patch tokens between two registers, and before the first; what remains stands after the last."""
        return self.grid**2 // (self.registers + 1)


class MambaReg(VisionMamba):
    """Mamba-Reg; every register is a special token."""

    config: RegisterConfig

    def __init__(self, name: str, config: RegisterConfig) -> None:
        narrow = config.dim // config.reduce
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
        """Where the registers stand, evenly spread."""
        config = self.config
        return tuple(
            config.spacing + register * (config.spacing + 1) for register in range(config.registers)
        )

    def embed(self, images: Tensor, image_index: Tensor | None = None) -> TokenSequence:
        """(B, 3, S, S) normalised images to patch tokens with the registers between them."""
        check_image_size(images, self.image_size, self.name)
        config = self.config
        patches = self.patch_embed(images.to(self.cls_token.dtype)) + self.pos_embed
        registers = (self.cls_token + self.pos_embed_cls).expand(len(images), -1, -1)
        rest = config.grid**2 - config.registers * config.spacing
        *stretches, last = patches.split([config.spacing] * config.registers + [rest], dim=1)
        pieces = [
            piece
            for pair in zip(stretches, registers.split(1, dim=1), strict=True)
            for piece in pair
        ]
        return new_sequence(
            torch.cat([*pieces, last], dim=1), self.special_places, self.grid, image_index
        )

    def readout(self, tokens: TokenSequence) -> Tensor:
        """Logits (B, classes) read at the registers of each image, wherever they stand."""
        registers = self.specials_of(tokens)
        if self.config.reduce > 1:
            joined = self.norm_neck(per_image_linear(registers, self.neck).flatten(1))
        else:
            joined = registers.flatten(1)
        return per_image_linear(joined.to(self.head.weight.dtype), self.head)

    def positions_here(self, positions: Tensor) -> Tensor | None:
        """A position embedding (1, n, C) of another square grid on this model's; None if it is of no square."""
        side, grid = side_of(positions.shape[1]), self.config.grid
        return None if side is None else resample_positions(positions, (side, side), (grid, grid))

    def describe(self) -> Shape:
        """The numbers from which FLOPs follow."""
        config = self.config
        neck = config.dim // config.reduce if config.reduce > 1 else 0
        return replace(super().describe(), read=config.registers, neck=neck)


CONFIGS = {
    "mambareg_tiny": RegisterConfig(dim=192),
    "mambareg_small": RegisterConfig(dim=384, reduce=2),
    "mambareg_base": RegisterConfig(dim=768, reduce=4),
    "mambareg_large": RegisterConfig(dim=1024, depth=48, registers=16, reduce=8),
}


def create(name: str, **overrides: Any) -> MambaReg:
    """The Mamba-Reg called `name`, with any field of its `RegisterConfig` overridden."""
    config = configured(CONFIGS, name, overrides)
    if config.dim % config.reduce:
        raise UserError(
            f"{name} cannot narrow {config.dim} channels {config.reduce} times: use a divisor as reduce"
        )
    return MambaReg(name, config)


mambareg_tiny = partial(create, "mambareg_tiny")
mambareg_small = partial(create, "mambareg_small")
mambareg_base = partial(create, "mambareg_base")
mambareg_large = partial(create, "mambareg_large")

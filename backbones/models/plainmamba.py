"""PlainMamba.

Yang et al., "PlainMamba: Improving Non-Hierarchical Mamba in Visual Recognition", BMVC 2024, arXiv
2403.17695.

A stem of convolutions, an absolute position embedding, and blocks of LayerNorm and four zig-zag
scans; no class token: the head reads the mean over all tokens. Names are the published ones without
the prefixes of OpenMMLab's files.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from backbones.base import Backbone, check_image_size
from backbones.common.errors import UserError
from backbones.config import with_overrides
from backbones.layers import batch_invariant
from backbones.layers.norm import layer_norm
from backbones.layers.positions import resample_grid, resample_positions
from backbones.layers.zigzag import WALKS
from backbones.layers.zigzag_mixer import TRACED, ZigzagMixer, on_grid
from backbones.models.sizes import PLAINMAMBA, PlainConfig
from backbones.sequence import TokenSequence, new_sequence
from backbones.shape import STEM_WIDTH, Shape


class Stem(nn.Module):
    """Convolutions at half the image's resolution, then a strided one that makes patches."""

    def __init__(self, config: PlainConfig) -> None:
        super().__init__()
        self.stem = nn.Sequential(*self._layer(3, side=7, stride=2))
        # Layers have the published names; with a single convolution there is no `convs`.
        others: list[nn.Module] = []
        for _ in range(1, config.convolutions):
            others += self._layer(STEM_WIDTH, side=3, stride=1)
        if others:
            self.convs = nn.Sequential(*others)
        side = config.patch // 2
        self.projection = nn.Conv2d(STEM_WIDTH, config.dim, side, stride=side)

    @staticmethod
    def _layer(channels: int, side: int, stride: int) -> list[nn.Module]:
        # without bias: the norm behind has one
        conv = nn.Conv2d(
            channels,
            STEM_WIDTH,
            side,
            stride=stride,
            padding=side // 2,
            bias=False,
        )
        return [conv, nn.BatchNorm2d(STEM_WIDTH), nn.ReLU(inplace=True)]

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, h * w, C), row by row."""
        return batch_invariant.convolve(self._convolved, images).flatten(2).transpose(1, 2)

    def _convolved(self, images: Tensor) -> Tensor:
        half = self.stem(images)
        return self.projection(self.convs(half) if hasattr(self, "convs") else half)


class PlainBlock(nn.Module):
    """Residual += branch; branch = mamba(norm(residual)).

    With a local convolution, the sum of both streams goes through a 3 x 3 convolution on the grid
    with norm and GELU; its result is the new branch, over a residual of zeros.
    """

    def __init__(self, config: PlainConfig, local: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.dim)
        self.mamba = ZigzagMixer(config.dim, config.states)
        if local:
            conv = nn.Conv2d(
                config.dim,
                config.dim,
                3,
                padding=1,
                bias=False,
                groups=config.dim,
            )
            self.dw = nn.Sequential(conv, nn.BatchNorm2d(config.dim), nn.GELU())

    def forward(self, tokens: TokenSequence, needs: frozenset[str] = frozenset()) -> TokenSequence:
        """Run the block on `tokens`; the trace of the result has the fields named in `needs`."""
        if tokens.carry is not None:
            raise UserError(
                "zig-zag scans take no decay over from dropped tokens: "
                "choose a method without alignment"
            )
        residual = tokens.residual + tokens.branch
        u = layer_norm(self.norm, residual)
        places, (height, width) = cells_of(tokens)
        branch, trace = self.mamba(u, places, (1, height, width), needs)
        if hasattr(self, "dw"):
            # its result replaces the sum, so that the residual starts anew
            total = (residual + branch).to(branch.dtype)
            branch = on_grid(total, places, (height, width), self.dw)
            residual = torch.zeros_like(residual)
        return replace(tokens, branch=branch, residual=residual, trace=trace)


def cells_of(tokens: TokenSequence) -> tuple[Tensor, tuple[int, int]]:
    """The cell of every token (B, L) and the sides of the grid that holds the cells.

    Tokens that fill a smaller rectangle make a grid of their own, as if the image had so many
    patches; others stand at their places in the whole grid, and cells without a token are empty.
    """
    _, height, width = tokens.grid
    rectangle = tokens.rectangle
    if rectangle is None or rectangle == (height, width):
        return tokens.position, (height, width)
    places = torch.arange(tokens.length, device=tokens.position.device)
    return places.expand_as(tokens.position), rectangle


class PlainMamba(Backbone):
    """PlainMamba; it has no special tokens."""

    provides: ClassVar[frozenset[str]] = TRACED
    takes_rectangles: ClassVar[bool] = True

    config: PlainConfig

    def __init__(self, name: str, config: PlainConfig) -> None:
        super().__init__()
        self.name = name
        self.config = config
        self.image_size = config.image_size
        self.patch_embed = Stem(config)
        self.pos_embed = nn.Parameter(torch.zeros(1, config.positions**2, config.dim))
        self.layers = nn.ModuleList(
            PlainBlock(config, config.local and i == 0) for i in range(config.depth)
        )
        self.ln1 = nn.LayerNorm(config.dim, eps=1e-6)
        self.head = nn.Linear(config.dim, config.classes)
        initialise(self)

    @property
    def blocks(self) -> nn.ModuleList:
        """The blocks in order."""
        return self.layers

    @property
    def special_places(self) -> tuple[int, ...]:
        """Empty."""
        return ()

    def embed(self, images: Tensor, image_index: Tensor | None = None) -> TokenSequence:
        """(B, 3, S, S) normalised images to patch tokens, row by row."""
        check_image_size(images, self.image_size, self.name, self.picture)
        positions, side = self.pos_embed, self.config.positions
        if self.patch_grid != (side, side):
            positions = resample_positions(positions, (side, side), self.patch_grid)
        tokens = self.patch_embed(images.to(positions.dtype)) + positions
        return new_sequence(tokens, (), (1, *self.patch_grid), image_index)

    @property
    def patch_grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        if self.picture is None:
            return super().patch_grid
        height, width = self.picture
        return height // self.config.patch, width // self.config.patch

    def readout(self, tokens: TokenSequence) -> Tensor:
        """Logits (B, classes) of the mean token, in which tokens count by size if so configured."""
        final = layer_norm(self.ln1, tokens.residual + tokens.branch)
        # a merged token stands for all tokens that went into it
        size = tokens.size if self.config.weighted else torch.ones_like(tokens.size)
        size = size.to(final.dtype)
        mean = (final * size[..., None]).sum(1) / size.sum(1, keepdim=True)
        return batch_invariant.per_image_linear(mean, self.head)

    def positions_here(self, positions: Tensor) -> Tensor | None:
        """Resample a position embedding (1, n, C) to this model's table; None if n is no square."""
        return resample_grid(positions, self.config.positions)

    def describe(self) -> Shape:
        """The sizes from which FLOPs follow."""
        config, block = self.config, self.layers[0]
        assert isinstance(block, PlainBlock)
        mixer = block.mamba
        return self._shape(
            inner=mixer.inner,
            states=mixer.d_state,
            dt_rank=mixer.dt_rank,
            conv_kernel=mixer.conv2d.weight[0].numel(),
            directions=WALKS,
            walks=True,
            stem=config.convolutions,
            local=int(config.local),
        )


def initialise(model: PlainMamba) -> None:
    """Set the initial weights of the published training: truncated normal of 0.02, biases 0."""
    for name, module in model.named_modules():
        # the timescale's projection starts as Mamba sets it, like the rest of the scan
        if isinstance(module, nn.Linear) and not name.endswith("dt_proj"):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.trunc_normal_(model.pos_embed, std=0.02)


def create(name: str, **overrides: Any) -> PlainMamba:
    """Build the PlainMamba called `name`, with any field of its `PlainConfig` overridden."""
    config = with_overrides(PLAINMAMBA[name], name, overrides)
    # the stem halves the resolution before it cuts patches
    if config.patch % 2 or config.image_size % config.patch:
        raise UserError(
            f"{name} cannot take image_size {config.image_size}: "
            f"use a multiple of {config.patch}, its patch"
        )
    return PlainMamba(name, config)

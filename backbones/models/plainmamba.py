"""PlainMamba.

Yang et al., "PlainMamba: Improving Non-Hierarchical Mamba in Visual Recognition", BMVC 2024, arXiv
2403.17695.

A stem of convolutions, an absolute position embedding, and blocks of LayerNorm and four zig-zag
scans; no class token: the head reads the mean over all tokens. Names are the published ones without
the prefixes of OpenMMLab's files.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from backbones.base import Backbone, check_image_size
from backbones.common.errors import UserError
from backbones.config import changed
from backbones.layers import batch_invariant
from backbones.layers.batch_invariant import per_image_linear
from backbones.layers.norm import layer_norm
from backbones.layers.positions import resample_positions, side_of
from backbones.layers.zigzag import WALKS
from backbones.layers.zigzag_mixer import TRACED, ZigzagMixer, on_grid
from backbones.sequence import TokenSequence, new_sequence
from backbones.shape import STEM_WIDTH, Shape

PREFIXES = {"backbone.": "", "head.fc.": "head."}
# what a run that averages its weights keeps of the raw ones; the file's plain names hold the
# average
RAW = "ema_"


@dataclass(frozen=True)
class PlainConfig:
    """One size of PlainMamba.

    ``convolutions``  of the stem, before that which makes patches of its result
    ``local``         whether a 3 x 3 convolution follows the first block
    ``weighted``      whether the mean over tokens counts each by its size
    """

    dim: int
    depth: int = 24
    states: int = 16
    image_size: int = 224
    patch: int = 16
    classes: int = 1000
    convolutions: int = 3
    local: bool = False
    weighted: bool = True

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch


class Stem(nn.Module):
    """Convolutions at half the image's resolution, and one that makes patches of what they give."""

    def __init__(self, config: PlainConfig) -> None:
        super().__init__()
        first, *others = (
            self._layer(
                3 if index == 0 else STEM_WIDTH, 7 if index == 0 else 3, 2 if index == 0 else 1
            )
            for index in range(config.convolutions)
        )
        self.stem = nn.Sequential(*first)
        if others:
            self.convs = nn.Sequential(*(module for layer in others for module in layer))
        side = config.patch // 2
        self.projection = nn.Conv2d(STEM_WIDTH, config.dim, side, stride=side)

    @staticmethod
    def _layer(channels: int, side: int, stride: int) -> list[nn.Module]:
        conv = nn.Conv2d(channels, STEM_WIDTH, side, stride=stride, padding=side // 2, bias=False)
        return [conv, nn.BatchNorm2d(STEM_WIDTH), nn.ReLU(inplace=True)]

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, h * w, C), row by row."""
        return batch_invariant.convolve(self._convolved, images).flatten(2).transpose(1, 2)

    def _convolved(self, images: Tensor) -> Tensor:
        half = self.stem(images)
        return self.projection(self.convs(half) if hasattr(self, "convs") else half)


class PlainBlock(nn.Module):
    """residual += branch; branch = mamba(norm(residual)).

    With a local convolution both streams are added up and go through it, 3 x 3 on the grid with
    norm and GELU; what it gives is the new branch, over a residual of zeros.
    """

    def __init__(self, config: PlainConfig, local: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.dim)
        self.mamba = ZigzagMixer(config.dim, config.states)
        if local:
            conv = nn.Conv2d(config.dim, config.dim, 3, padding=1, bias=False, groups=config.dim)
            self.dw = nn.Sequential(conv, nn.BatchNorm2d(config.dim), nn.GELU())

    def forward(self, tokens: TokenSequence, needs: frozenset[str] = frozenset()) -> TokenSequence:
        """Run the block on `tokens`; the trace of the result holds the fields named in `needs`."""
        if tokens.carry is not None:
            raise UserError(
                "zig-zag scans take no decay over from dropped tokens: choose a method without alignment"
            )
        residual = tokens.residual + tokens.branch
        branch, trace = self.mamba(
            layer_norm(self.norm, residual), tokens.position, tokens.grid, needs
        )
        if hasattr(self, "dw"):
            total = (residual + branch).to(branch.dtype)
            _, height, width = tokens.grid
            branch, residual = (
                on_grid(total, tokens.position, (height, width), self.dw),
                torch.zeros_like(residual),
            )
        return replace(tokens, branch=branch, residual=residual, trace=trace)


class PlainMamba(Backbone):
    """PlainMamba; it has no special tokens."""

    provides: ClassVar[frozenset[str]] = TRACED

    pos_embed: Tensor

    def __init__(self, name: str, config: PlainConfig) -> None:
        super().__init__()
        self.name = name
        self.config = config
        self.image_size = config.image_size
        self.patch_embed = Stem(config)
        self.pos_embed = nn.Parameter(torch.zeros(1, config.grid**2, config.dim))
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
        """There are none."""
        return ()

    def embed(self, images: Tensor, image_index: Tensor | None = None) -> TokenSequence:
        """(B, 3, S, S) normalised images to patch tokens row by row."""
        check_image_size(images, self.image_size, self.name)
        tokens = self.patch_embed(images.to(self.pos_embed.dtype)) + self.pos_embed
        return new_sequence(tokens, (), (1, self.config.grid, self.config.grid), image_index)

    def readout(self, tokens: TokenSequence) -> Tensor:
        """Logits (B, classes) of the mean token; each counts by its size, or as one if the configuration says so."""
        final = layer_norm(self.ln1, tokens.residual + tokens.branch)
        size = (tokens.size if self.config.weighted else torch.ones_like(tokens.size)).to(
            final.dtype
        )
        mean = (final * size[..., None]).sum(1) / size.sum(1, keepdim=True)
        return per_image_linear(mean, self.head)

    def image_size_for(self, grid: int) -> int:
        """Side in pixels of the square image that has `grid` x `grid` patches."""
        return grid * self.config.patch

    def resized(self, image_size: int) -> PlainMamba:
        """The same weights for square images of another size, position embedding interpolated."""
        other = copy.copy(self)
        other.config = replace(self.config, image_size=image_size)
        other.image_size = image_size
        old, new = self.config.grid, other.config.grid
        # a plain tensor, so that in training the gradient flows to the one embedding that is
        # learned
        other._parameters = {
            name: value for name, value in self._parameters.items() if name != "pos_embed"
        }
        other.pos_embed = resample_positions(self.pos_embed, (old, old), (new, new))
        return other

    def positions_here(self, positions: Tensor) -> Tensor | None:
        """A position embedding of another square grid resampled to this model's; None if it is of no square."""
        side, grid = side_of(positions.shape[1]), self.config.grid
        return None if side is None else resample_positions(positions, (side, side), (grid, grid))

    def fitted(
        self, state: Mapping[str, Tensor], asked: frozenset[str]
    ) -> tuple[dict[str, Tensor], list[str]]:
        """Published weights under this model's names and shapes, and in words what had to be changed for that."""
        own = {}
        for name, tensor in state.items():
            prefix = next((prefix for prefix in PREFIXES if name.startswith(prefix)), "")
            if not name.startswith(RAW):
                own[PREFIXES.get(prefix, "") + name.removeprefix(prefix)] = tensor
        return super().fitted(own, asked)

    def describe(self) -> Shape:
        """The numbers from which FLOPs follow."""
        config, block = self.config, self.layers[0]
        assert isinstance(block, PlainBlock)
        mixer = block.mamba
        return Shape(
            name=self.name,
            depth=config.depth,
            dim=config.dim,
            inner=mixer.inner,
            states=config.states,
            dt_rank=mixer.dt_rank,
            conv_kernel=mixer.conv2d.weight[0].numel(),
            directions=WALKS,
            patch=(1, config.patch, config.patch),
            channels=3,
            patches=config.grid**2,
            specials=0,
            classes=config.classes,
            walks=True,
            stem=config.convolutions,
            local=int(config.local),
        )


def initialise(model: PlainMamba) -> None:
    """Set the initial weights of the published training: truncated normal of 0.02, biases 0; scans as Mamba begins."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and not name.endswith("dt_proj"):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.trunc_normal_(model.pos_embed, std=0.02)


CONFIGS = {
    "plainmamba_l1": PlainConfig(dim=192, convolutions=2, local=True),
    "plainmamba_l2": PlainConfig(dim=384),
    "plainmamba_l3": PlainConfig(dim=448, depth=36),
}


def create(name: str, **overrides: Any) -> PlainMamba:
    """The PlainMamba called `name`, with any field of its `PlainConfig` overridden."""
    config = changed(CONFIGS[name], name, overrides)
    if config.patch % 2 or config.image_size % config.patch:
        raise UserError(
            f"{name} cannot take image_size {config.image_size}: use a multiple of {config.patch}, its patch"
        )
    return PlainMamba(name, config)


plainmamba_l1 = partial(create, "plainmamba_l1")
plainmamba_l2 = partial(create, "plainmamba_l2")
plainmamba_l3 = partial(create, "plainmamba_l3")

"""The attention control: vision transformers as DeiT and AugReg ViT have them, built of timm's layers.

Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021, arXiv 2010.11929; Touvron et al.,
"Training data-efficient image transformers & distillation through attention" (DeiT), ICML 2021,
arXiv 2012.12877.

The class token stands first; an absolute position embedding is added; layers of attention and MLP,
both behind a LayerNorm; the class token is read out. Each half of a layer is a block: of L layers,
block 2l is the attention and block 2l + 1 the MLP of layer l, so the site between them is 2l + 1.
Parameter names and shapes are timm's, which are DeiT's own.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import torch
from timm.models.vision_transformer import Block as Layer
from torch import Tensor, nn

from backbones.base import Backbone, check_image_size
from backbones.common.errors import UserError
from backbones.config import changed
from backbones.layers.attention import TRACED, AttentionHalf, MlpHalf
from backbones.layers.batch_invariant import per_image_linear
from backbones.layers.norm import layer_norm
from backbones.layers.patches import PatchEmbed
from backbones.layers.positions import interpolate_pos_embed, side_of
from backbones.sequence import TokenSequence, new_sequence
from backbones.shape import Shape

MLP_RATIO = 4
EPS = 1e-6


@dataclass(frozen=True)
class ViTConfig:
    """One size of ViT: `layers` of width `dim` with so many attention `heads`."""

    dim: int
    heads: int
    layers: int = 12
    image_size: int = 224
    patch: int = 16
    classes: int = 1000

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch


class ViT(Backbone):
    """A vision transformer with its class token first."""

    provides: ClassVar[frozenset[str]] = TRACED

    pos_embed: Tensor

    def __init__(self, name: str, config: ViTConfig) -> None:
        super().__init__()
        self.name = name
        self.config = config
        self.image_size = config.image_size
        self.patch_embed = PatchEmbed(config.patch, config.patch, config.dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, config.grid**2 + 1, config.dim))
        norm: Any = partial(nn.LayerNorm, eps=EPS)
        layers = nn.ModuleList(
            Layer(config.dim, config.heads, MLP_RATIO, qkv_bias=True, norm_layer=norm)
            for _ in range(config.layers)
        )
        self._modules["blocks"] = layers  # timm's name, which in our contract means the half blocks
        self._halves = tuple(
            half for layer in layers for half in (AttentionHalf(layer), MlpHalf(layer))
        )
        self.norm = norm(config.dim)
        self.head = nn.Linear(config.dim, config.classes)
        initialise(self)

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """The half blocks in order."""
        return self._halves

    @property
    def special_places(self) -> tuple[int, ...]:
        """The class token stands first."""
        return (0,)

    def embed(self, images: Tensor, image_index: Tensor | None = None) -> TokenSequence:
        """(B, 3, S, S) normalised images to the class token and patch tokens row by row."""
        check_image_size(images, self.image_size, self.name)
        patches = self.patch_embed(images.to(self.cls_token.dtype))
        cls = self.cls_token.expand(patches.shape[0], -1, -1)
        tokens = torch.cat([cls, patches], dim=1) + self.pos_embed
        return new_sequence(
            tokens, self.special_places, (1, self.config.grid, self.config.grid), image_index
        )

    def readout(self, tokens: TokenSequence) -> Tensor:
        """Logits (B, classes) read at the class token of each image, wherever it stands."""
        index = tokens.special[:, :1, None].expand(-1, -1, tokens.branch.shape[2])
        final = tokens.residual.gather(1, index) + tokens.branch.gather(1, index)
        return per_image_linear(layer_norm(self.norm, final).squeeze(1), self.head)

    def image_size_for(self, grid: int) -> int:
        """Side in pixels of the square image that has `grid` x `grid` patches."""
        return grid * self.config.patch

    def resized(self, image_size: int) -> ViT:
        """The same weights for square images of another size, position embedding interpolated."""
        other = copy.copy(self)
        other.config = replace(self.config, image_size=image_size)
        other.image_size = image_size
        # a plain tensor, so that in training the gradient flows to the one embedding that is
        # learned
        other._parameters = {
            name: value for name, value in self._parameters.items() if name != "pos_embed"
        }
        positions = other.positions_here(self.pos_embed)
        assert positions is not None
        other.pos_embed = positions
        return other

    def positions_here(self, positions: Tensor) -> Tensor | None:
        """A position embedding (1, n + 1, C) of another square grid on this model's; None if it is of no square."""
        side, grid = side_of(positions.shape[1] - 1), self.config.grid
        return (
            None
            if side is None
            else interpolate_pos_embed(positions, 0, (side, side), 0, (grid, grid))
        )

    def describe(self) -> Shape:
        """The numbers from which FLOPs follow."""
        config = self.config
        return Shape(
            name=self.name,
            depth=len(self.blocks),
            dim=config.dim,
            inner=config.dim,
            states=0,
            dt_rank=0,
            conv_kernel=0,
            directions=0,
            heads=config.heads,
            hidden=MLP_RATIO * config.dim,
            patch=(1, config.patch, config.patch),
            channels=3,
            patches=config.grid**2,
            specials=1,
            classes=config.classes,
        )


def initialise(model: ViT) -> None:
    """Set the initial weights of DeiT's training: truncated normal of 0.02, biases 0, norms as they are."""
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for tensor in (model.cls_token, model.pos_embed):
        nn.init.trunc_normal_(tensor, std=0.02)


CONFIGS = {
    "deit_tiny": ViTConfig(dim=192, heads=3),
    "deit_small": ViTConfig(dim=384, heads=6),
    "deit_base": ViTConfig(dim=768, heads=12),
    "vit_tiny": ViTConfig(dim=192, heads=3),
    "vit_small": ViTConfig(dim=384, heads=6),
    "vit_base": ViTConfig(dim=768, heads=12),
    "deit_nano": ViTConfig(dim=48, heads=3, layers=10, image_size=56, patch=4, classes=10),
}


def create(name: str, **overrides: Any) -> ViT:
    """The ViT called `name`, with any field of its `ViTConfig` overridden."""
    config = changed(CONFIGS[name], name, overrides)
    if config.image_size % config.patch:
        raise UserError(
            f"{name} cannot take image_size {config.image_size}: use a multiple of {config.patch}, its patch"
        )
    if config.dim % config.heads:
        raise UserError(
            f"{name} cannot have {config.dim} channels in {config.heads} heads: use a divisor as heads"
        )
    return ViT(name, config)


deit_tiny = partial(create, "deit_tiny")
deit_small = partial(create, "deit_small")
deit_base = partial(create, "deit_base")
deit_nano = partial(create, "deit_nano")
vit_tiny = partial(create, "vit_tiny")
vit_small = partial(create, "vit_small")
vit_base = partial(create, "vit_base")

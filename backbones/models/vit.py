"""The attention control: vision transformers as DeiT and AugReg ViT, built of timm's layers.

Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021, arXiv 2010.11929; Touvron et al.,
"Training data-efficient image transformers & distillation through attention" (DeiT), ICML 2021,
arXiv 2012.12877.

The class token is first; an absolute position embedding is added; layers of attention and MLP, both
behind a LayerNorm, follow; the class token is read out. Each half of a layer is a block: of L
layers, block 2l is the attention and block 2l + 1 the MLP of layer l, so the site between them is
2l + 1. Parameter names and shapes are timm's, which are DeiT's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, ClassVar

import torch
from timm.models.vision_transformer import Block as Layer
from torch import Tensor, nn

from backbones.base import Backbone, check_image_size
from backbones.common.errors import UserError
from backbones.config import with_overrides
from backbones.layers.attention import TRACED, AttentionHalf, MlpHalf
from backbones.layers.batch_invariant import per_image_linear
from backbones.layers.norm import layer_norm
from backbones.layers.patches import PatchEmbed
from backbones.layers.positions import resample_grid
from backbones.models.sizes import VIT, ViTConfig
from backbones.sequence import TokenSequence, new_sequence
from backbones.shape import Shape

MLP_RATIO = 4
EPS = 1e-6


class Layers(nn.Module):
    """Layers under the checkpoints' names ("0", "1", ...), which run as their halves, in order."""

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        halves: list[nn.Module] = []
        for index, layer in enumerate(layers):
            self.add_module(str(index), layer)
            halves += [AttentionHalf(layer), MlpHalf(layer)]
        # A tuple keeps them unregistered: their parameters are the layers' already.
        self._halves = tuple(halves)

    def __len__(self) -> int:
        """Number of halves."""
        return len(self._halves)

    def __getitem__(self, index: int) -> nn.Module:
        """The half block `index`."""
        return self._halves[index]

    def __iter__(self) -> Iterator[nn.Module]:
        """The half blocks in order."""
        return iter(self._halves)


class ViT(Backbone):
    """A vision transformer with its class token first."""

    provides: ClassVar[frozenset[str]] = TRACED

    config: ViTConfig

    def __init__(self, name: str, config: ViTConfig) -> None:
        super().__init__()
        self.name = name
        self.config = config
        self.image_size = config.image_size
        self.patch_embed = PatchEmbed(config.patch, config.patch, config.dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, config.grid**2 + 1, config.dim))
        norm: Any = partial(nn.LayerNorm, eps=EPS)
        layers = [
            Layer(config.dim, config.heads, MLP_RATIO, qkv_bias=True, norm_layer=norm)
            for _ in range(config.layers)
        ]
        # Registered directly: a backbone's property has that name.
        self._modules["blocks"] = Layers(layers)
        self.norm = norm(config.dim)
        self.head = nn.Linear(config.dim, config.classes)
        initialise(self)

    @property
    def blocks(self) -> Layers:
        """The half blocks in order."""
        layers = self._modules["blocks"]
        assert isinstance(layers, Layers)
        return layers

    @property
    def special_places(self) -> tuple[int, ...]:
        """The index of the class token."""
        return (0,)

    def embed(self, images: Tensor, image_index: Tensor | None = None) -> TokenSequence:
        """(B, 3, S, S) normalised images to the class token and patch tokens, row by row."""
        check_image_size(images, self.image_size, self.name)
        patches = self.patch_embed(images.to(self.cls_token.dtype))
        cls = self.cls_token.expand(patches.shape[0], -1, -1)
        tokens = torch.cat([cls, patches], dim=1) + self.pos_embed
        grid = (1, self.config.grid, self.config.grid)
        return new_sequence(tokens, self.special_places, grid, image_index)

    def readout(self, tokens: TokenSequence) -> Tensor:
        """Logits (B, classes) of each image's class token."""
        # Only the class token is read, so only it is added up and normalised.
        index = tokens.special[:, :1, None].expand(-1, -1, tokens.branch.shape[2])
        final = tokens.residual.gather(1, index) + tokens.branch.gather(1, index)
        cls = layer_norm(self.norm, final).squeeze(1)
        return per_image_linear(cls, self.head)

    def positions_here(self, positions: Tensor) -> Tensor | None:
        """Resample a position embedding (1, n + 1, C) to this model's grid.

        None if its n patches form no square.
        """
        return resample_grid(positions, self.config.grid, lambda patches: 0)

    def describe(self) -> Shape:
        """The sizes from which FLOPs follow."""
        config = self.config
        return self._shape(
            inner=config.dim,
            heads=config.heads,
            hidden=MLP_RATIO * config.dim,
        )


def initialise(model: ViT) -> None:
    """Set the initial weights of DeiT's training: truncated normal of 0.02, biases 0."""
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for tensor in (model.cls_token, model.pos_embed):
        nn.init.trunc_normal_(tensor, std=0.02)


def create(name: str, **overrides: Any) -> ViT:
    """Build the ViT called `name`, with any field of its `ViTConfig` overridden."""
    config = with_overrides(VIT[name], name, overrides)
    if config.image_size % config.patch:
        raise UserError(
            f"{name} cannot take image_size {config.image_size}: "
            f"use a multiple of {config.patch}, its patch"
        )
    if config.dim % config.heads:
        raise UserError(
            f"{name} cannot have {config.dim} channels in {config.heads} heads: "
            "use a divisor as heads"
        )
    return ViT(name, config)

"""What Vim and its descendants share: patches, blocks of bidirectional Mamba mixers, a class token that is read out.

The families differ in where the class token stands and in whether the two directions are averaged or summed. Parameter
names and shapes are those of the published checkpoints.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from backbones.base import Backbone, check_image_size, per_image_linear
from backbones.block import Block
from backbones.errors import UserError
from backbones.mixer import BidirectionalMixer
from backbones.norm import RMSNorm
from backbones.patches import PatchEmbed
from backbones.positions import interpolate_pos_embed
from backbones.registry import nearest
from backbones.sequence import TokenSequence, new_sequence
from backbones.shape import Shape


@dataclass(frozen=True)
class MambaConfig:
    """One size of a model. `stride` below `patch` makes patches overlap; `divide` halves the sum of the directions."""

    dim: int
    depth: int = 24
    states: int = 16
    image_size: int = 224
    patch: int = 16
    stride: int = 16
    classes: int = 1000
    divide: bool = True

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return (self.image_size - self.patch) // self.stride + 1


class VisionMamba(Backbone):
    """A vision Mamba with one class token, whose place a family gives as `class_place_of`."""

    provides: ClassVar[frozenset[str]] = BidirectionalMixer.provides

    pos_embed: Tensor

    def __init__(self, name: str, config: MambaConfig) -> None:
        super().__init__()
        self.name = name
        self.config = config
        self.image_size = config.image_size
        self.patch_embed = PatchEmbed(config.patch, config.stride, config.dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, config.grid**2 + 1, config.dim))
        self.layers = nn.ModuleList(
            Block(config.dim, BidirectionalMixer(config.dim, d_state=config.states, divide=config.divide))
            for _ in range(config.depth)
        )
        self.norm_f = RMSNorm(config.dim)
        self.head = nn.Linear(config.dim, config.classes)
        initialise(self)

    @staticmethod
    def class_place_of(patches: int) -> int:
        """Number of patch tokens that stand before the class token, of `patches`."""
        raise NotImplementedError

    @property
    def class_place(self) -> int:
        """Where the class token stands in the unreduced sequence."""
        return self.class_place_of(self.config.grid**2)

    @property
    def blocks(self) -> nn.ModuleList:
        """The blocks in order."""
        return self.layers

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
        grid = self.config.grid
        return new_sequence(tokens, [place], (1, grid, grid), image_index)

    def readout(self, tokens: TokenSequence) -> Tensor:
        """Logits (B, classes) read at the class token of each image, wherever it stands."""
        index = tokens.special[:, :1, None].expand(-1, -1, tokens.branch.shape[2])
        final = tokens.residual.gather(1, index) + tokens.branch.gather(1, index)
        return per_image_linear(self.norm_f(final).squeeze(1).to(self.head.weight.dtype), self.head)

    def image_size_for(self, grid: int) -> int:
        """Side in pixels of the square image that has `grid` x `grid` patches."""
        return (grid - 1) * self.config.stride + self.config.patch

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

    def describe(self) -> Shape:
        """The numbers from which FLOPs follow."""
        config, mixer = self.config, self.mixers()[0]
        return Shape(
            name=self.name,
            depth=config.depth,
            dim=config.dim,
            inner=mixer.inner,
            states=config.states,
            dt_rank=mixer.dt_rank,
            conv_kernel=mixer.d_conv,
            directions=2,
            patch=(1, config.patch, config.patch),
            channels=3,
            patches=config.grid**2,
            specials=1,
            classes=config.classes,
        )


def initialise(model: VisionMamba) -> None:
    """Set the initial weights of Vim's published training.

    LeCun normal patches, narrow normal embeddings and head, output projections scaled down by the square root of the
    depth; the mixer sets its own scan parameters.
    """
    fan_in = model.patch_embed.proj.weight[0].numel()
    nn.init.trunc_normal_(model.patch_embed.proj.weight, std=math.sqrt(1 / fan_in))
    assert model.patch_embed.proj.bias is not None
    nn.init.zeros_(model.patch_embed.proj.bias)
    for tensor in (model.cls_token, model.pos_embed, model.head.weight):
        nn.init.trunc_normal_(tensor, std=0.02)
    nn.init.zeros_(model.head.bias)
    for mixer in model.mixers():
        nn.init.kaiming_uniform_(mixer.out_proj.weight, a=math.sqrt(5))
        with torch.no_grad():
            mixer.out_proj.weight /= math.sqrt(model.depth)


def configured(configs: Mapping[str, MambaConfig], name: str, overrides: Mapping[str, Any]) -> MambaConfig:
    """The configuration called `name` with `overrides`; UserError for a setting that does not exist or cannot be."""
    known = {field.name for field in fields(MambaConfig)}
    if unknown := set(overrides) - known:
        raise UserError(f"{name} has no setting '{min(unknown)}': {nearest(min(unknown), known)}")
    config = replace(configs[name], **overrides)
    if config.image_size < config.patch:
        raise UserError(f"{name} cannot take image_size {config.image_size}: use at least {config.patch}, its patch")
    if config.depth < 1:
        raise UserError(f"{name} cannot have depth {config.depth}: use at least 1")
    return config

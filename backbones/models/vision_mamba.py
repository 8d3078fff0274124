"""The common part of Vim and its descendants.

A patch embedding, blocks of bidirectional Mamba mixers, and a head on the special tokens. The
families differ in their special tokens, in the position embedding, and in whether the two
directions are averaged or summed. Parameter names and shapes are those of the published
checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from backbones.base import Backbone
from backbones.common.errors import UserError
from backbones.config import with_overrides
from backbones.layers.block import Block
from backbones.layers.mixer import BidirectionalMixer, Mixer
from backbones.layers.norm import RMSNorm
from backbones.layers.patches import PatchEmbed
from backbones.models.sizes import MambaConfig, SequenceConfig
from backbones.sequence import TokenSequence
from backbones.shape import Shape


class VisionMamba(Backbone):
    """A stack of Mamba blocks between a patch embedding and a linear head.

    Subclasses add the special tokens and the position embedding.
    """

    provides: ClassVar[frozenset[str]] = BidirectionalMixer.provides

    config: SequenceConfig

    def __init__(
        self, name: str, config: SequenceConfig, patch_embed: PatchEmbed, head_width: int
    ) -> None:
        """`head_width`: channels that the head reads."""
        super().__init__()
        self.name = name
        self.config = config
        self.image_size = config.image_size
        self.patch_embed = patch_embed
        self.layers = nn.ModuleList()
        for index in range(config.depth):
            self.layers.append(self.new_block(index))
        self.norm_f = RMSNorm(config.dim)
        self.head = nn.Linear(head_width, config.classes)

    def new_block(self, index: int) -> nn.Module:
        """Block number `index`, with a mixer called ``mixer``."""
        config = self.config
        assert isinstance(config, MambaConfig)
        mixer = BidirectionalMixer(config.dim, d_state=config.states, divide=config.divide)
        return Block(config.dim, mixer)

    @property
    def blocks(self) -> nn.ModuleList:
        """The blocks in order."""
        return self.layers

    @property
    def grid(self) -> tuple[int, int, int]:
        """(frames, rows, columns) of patch tokens."""
        return (self.frames, self.config.grid, self.config.grid)

    def specials_of(self, tokens: TokenSequence) -> Tensor:
        """The special tokens (B, S, C) after the last block, normalised."""
        # Only they are read, so only they are added up and normalised.
        index = tokens.special[:, :, None].expand(-1, -1, tokens.branch.shape[2])
        return self.norm_f(tokens.residual.gather(1, index) + tokens.branch.gather(1, index))

    def image_size_for(self, grid: int) -> int:
        """Side in pixels of the square image that has `grid` x `grid` patches."""
        # unlike in other backbones, patches may overlap
        return (grid - 1) * self.config.stride + self.config.patch

    def describe(self) -> Shape:
        """The sizes from which FLOPs follow."""
        # All blocks have the same sizes; a plan asks often, and a walk over all modules is slow.
        mixer = next(module for module in self.modules() if isinstance(module, Mixer))
        assert isinstance(mixer, BidirectionalMixer)
        return self._shape(
            inner=mixer.inner,
            states=mixer.d_state,
            dt_rank=mixer.dt_rank,
            conv_kernel=mixer.d_conv,
            directions=2,
        )


def initialise(model: VisionMamba, *embeddings: Tensor) -> None:
    """Set the initial weights of Vim's published training.

    LeCun normal patches, narrow normal `embeddings` and head, output projections scaled down by the
    square root of the depth; the mixer sets its own scan parameters.
    """
    patches = model.patch_embed.proj
    fan_in = patches.weight[0].numel()
    nn.init.trunc_normal_(patches.weight, std=math.sqrt(1 / fan_in))
    assert patches.bias is not None
    nn.init.zeros_(patches.bias)
    for tensor in (*embeddings, model.head.weight):
        nn.init.trunc_normal_(tensor, std=0.02)
    nn.init.zeros_(model.head.bias)
    for block in model.layers:
        projection = block.get_submodule("mixer.out_proj").get_parameter("weight")
        nn.init.kaiming_uniform_(projection, a=math.sqrt(5))
        # Every block adds to the residual; smaller terms keep its variance from growing with depth.
        with torch.no_grad():
            projection.div_(math.sqrt(model.depth))


Config = TypeVar("Config", bound=SequenceConfig)


def configured(configs: Mapping[str, Config], name: str, overrides: Mapping[str, Any]) -> Config:
    """The configuration called `name` with `overrides`; UserError for one that cannot be built."""
    config = with_overrides(configs[name], name, overrides)
    if config.image_size < config.patch:
        raise UserError(
            f"{name} cannot take image_size {config.image_size}: "
            f"use at least {config.patch}, its patch"
        )
    return config

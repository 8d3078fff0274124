"""VMamba, in its second version without gates (the release's type ``v05_noz``).

Liu et al., "VMamba: Visual State Space Model", NeurIPS 2024, arXiv 2401.10166.

A stem of two convolutions, then four stages of layers of a mixer and an MLP; between stages a
convolution of stride 2 halves the map of tokens and doubles the channels. The mixer scans the map
along rows and columns in both directions, so that tokens have to fill a rectangle. There is neither
a class token nor a position embedding: the head reads the mean over all places. Each half of a
layer is a block: block 2l is the mixer and block 2l + 1 the MLP of layer l. Parameter names and
shapes are those of the published checkpoints.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from backbones.base import Backbone, check_image_size
from backbones.common.errors import UserError
from backbones.config import with_overrides
from backbones.layers import batch_invariant
from backbones.layers.attention import MlpHalf
from backbones.layers.batch_invariant import Gelu
from backbones.layers.cross_mixer import TAPS, TRACED
from backbones.layers.cross_scan import DIRECTIONS
from backbones.layers.norm import layer_norm
from backbones.layers.staged_block import (
    MLP_RATIO,
    ChannelNorm,
    MixerHalf,
    StagedLayer,
    new_downsample,
)
from backbones.models.sizes import VMAMBA, StagedConfig
from backbones.sequence import TokenSequence, new_sequence
from backbones.shape import Shape


def new_stem(dim: int) -> nn.Sequential:
    """Two convolutions of stride 2 with norms, a GELU between, under their published names."""
    layers: list[tuple[str, nn.Module]] = [
        ("0", nn.Conv2d(3, dim // 2, 3, stride=2, padding=1)),
        ("2", ChannelNorm(dim // 2)),
        ("4", Gelu()),
        ("5", nn.Conv2d(dim // 2, dim, 3, stride=2, padding=1)),
        ("7", ChannelNorm(dim)),
    ]
    return nn.Sequential(OrderedDict(layers))


class Stage(nn.Module):
    """The layers of one stage, and what halves the map behind them; none in the last stage."""

    def __init__(self, config: StagedConfig, stage: int) -> None:
        super().__init__()
        widths, rank = config.widths, config.dt_rank * 2**stage
        layers: list[StagedLayer] = []
        for _ in range(config.depths[stage]):
            layers.append(StagedLayer(widths[stage], config.states, config.expand, rank))
        self.blocks = nn.ModuleList(layers)
        if stage + 1 < len(widths):
            self.downsample = new_downsample(widths[stage], widths[stage + 1])


class VMamba(Backbone):
    """VMamba; it has no special tokens, and its blocks are halves of layers."""

    provides: ClassVar[frozenset[str]] = TRACED
    needs_rectangle: ClassVar[bool] = True
    takes_rectangles: ClassVar[bool] = True

    config: StagedConfig

    def __init__(self, name: str, config: StagedConfig) -> None:
        super().__init__()
        self.name = name
        self.config = config
        self.image_size = config.image_size
        self.patch_embed = new_stem(config.dim)
        stages = [Stage(config, index) for index in range(len(config.depths))]
        self.layers = nn.ModuleList(stages)
        width = config.widths[-1]
        head = nn.Linear(width, config.classes)
        self.classifier = nn.Sequential(
            OrderedDict([("norm", nn.LayerNorm(width)), ("head", head)])
        )
        # A tuple keeps the halves unregistered: their parameters are the stages' already.
        self._halves = _halves_of(stages)
        initialise(self)

    @property
    def blocks(self) -> tuple[nn.Module, ...]:
        """The half blocks in order."""
        return self._halves

    @property
    def special_places(self) -> tuple[int, ...]:
        """Empty."""
        return ()

    def embed(self, images: Tensor, image_index: Tensor | None = None) -> TokenSequence:
        """(B, 3, S, S) normalised images to patch tokens, row by row."""
        check_image_size(images, self.image_size, self.name, self.picture)
        weight = self.patch_embed.get_parameter("0.weight")
        grid = batch_invariant.convolve(self.patch_embed, images.to(weight.dtype))
        tokens = grid.flatten(2).transpose(1, 2)
        return new_sequence(tokens, (), (1, *self.patch_grid), image_index)

    @property
    def patch_grid(self) -> tuple[int, int]:
        """Rows and columns of patches; at a side that is no multiple of a patch one more."""
        if self.picture is None:
            return super().patch_grid
        height, width = (-(-side // self.config.patch) for side in self.picture)
        return height, width

    def readout(self, tokens: TokenSequence) -> Tensor:
        """Logits (B, classes) of the mean token, in which tokens count by size if so configured."""
        norm, head = self.classifier.norm, self.classifier.head
        assert isinstance(norm, nn.LayerNorm)
        assert isinstance(head, nn.Linear)
        final = layer_norm(norm, tokens.residual + tokens.branch)
        if self.config.weighted:
            size = tokens.size.to(final.dtype)
            mean = (final * size[..., None]).sum(1) / size.sum(1, keepdim=True)
        else:
            mean = final.mean(1)
        return batch_invariant.per_image_linear(mean, head)

    def resized(self, image_size: int) -> Self:
        """The same weights for square images of another size; there are no positions to adapt."""
        other = copy.copy(self)
        other.config = replace(self.config, image_size=image_size)
        other.image_size = image_size
        return other

    def fitted(
        self, state: Mapping[str, Tensor], changed: frozenset[str]
    ) -> tuple[dict[str, Tensor], list[str]]:
        """Adapt published weights: matrices that were saved as convolutions of 1 x 1."""
        own = dict(self.named_parameters())
        adapted: dict[str, Tensor] = {}
        for name, tensor in state.items():
            is_product = name in own and own[name].ndim == 2 and tensor.shape[2:] == (1, 1)
            adapted[name] = tensor.flatten(1) if is_product else tensor
        return adapted, []

    def describe(self) -> Shape:
        """The sizes from which FLOPs follow."""
        config = self.config
        halvings: list[int] = []
        for layers in config.depths[:-1]:
            before = halvings[-1] if halvings else 0
            halvings.append(before + 2 * layers)
        return self._shape(
            inner=config.expand * config.dim,
            states=config.states,
            dt_rank=config.dt_rank,
            conv_kernel=TAPS**2,
            directions=DIRECTIONS,
            hidden=MLP_RATIO * config.dim,
            widths=config.widths,
            halvings=tuple(halvings),
        )


def _halves_of(stages: list[Stage]) -> tuple[nn.Module, ...]:
    """The half blocks of all stages; the first of a stage halves the map of the one before."""
    halves: list[nn.Module] = []
    downsample: nn.Module | None = None
    for stage in stages:
        for layer in stage.blocks:
            assert isinstance(layer, StagedLayer)
            halves += [MixerHalf(layer, downsample), MlpHalf(layer)]
            downsample = None
        downsample = getattr(stage, "downsample", None)
    return tuple(halves)


def initialise(model: VMamba) -> None:
    """Set the initial weights of the published training: truncated normal of 0.02, biases 0."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def create(name: str, **overrides: Any) -> VMamba:
    """Build the VMamba called `name`, with any field of its `StagedConfig` overridden."""
    config = with_overrides(VMAMBA[name], name, overrides)
    if config.image_size % config.patch:
        raise UserError(
            f"{name} cannot take image_size {config.image_size}: "
            f"use a multiple of {config.patch}, its patch"
        )
    if config.dim % 2:
        raise UserError(f"{name} cannot have dim {config.dim}: use an even number")
    return VMamba(name, config)

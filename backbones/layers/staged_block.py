"""A layer of VMamba, and its first half block: the mixer on a map of tokens.

The MLP behind it is a block of its own, that of a transformer (`backbones.layers.attention`), so
that the place between mixer and MLP is a site. The first mixer half of a later stage begins by
halving the map.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

from timm.layers.mlp import Mlp
from torch import Tensor, nn

from backbones.common.errors import UserError
from backbones.layers import batch_invariant
from backbones.layers.cross_mixer import CrossMixer
from backbones.layers.halving import halved
from backbones.layers.norm import layer_norm
from backbones.sequence import TokenSequence

# of VMamba (arXiv 2401.10166), at every stage
MLP_RATIO = 4


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of (B, C, H, W), at each place."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W)."""
        # A LayerNorm is over the last axis.
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class StagedLayer(nn.Module):
    """The parameters of a layer under their published names; its halves do the work."""

    def __init__(self, dim: int, states: int, expand: int, dt_rank: int) -> None:
        """`dim` channels; the others are sizes of the mixer."""
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.op = CrossMixer(dim, states, expand, dt_rank)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, MLP_RATIO * dim)


def new_downsample(before: int, after: int) -> nn.Sequential:
    """A convolution of stride 2 and a norm, under their published names."""
    conv = nn.Conv2d(before, after, 3, stride=2, padding=1)
    # Numbers 0 and 2 permute axes in the release, and have no parameters.
    return nn.Sequential(OrderedDict([("1", conv), ("3", ChannelNorm(after))]))


class MixerHalf(nn.Module):
    """Residual += branch; branch = mixer(norm(residual)).

    With a `downsample` the sum of both streams is halved first, and the result is the residual.
    """

    def __init__(self, layer: StagedLayer, downsample: nn.Module | None) -> None:
        """`layer` keeps the parameters, and the stage before those of `downsample`."""
        super().__init__()
        self.norm, self.mixer, self.downsample = layer.norm, layer.op, downsample

    def forward(self, tokens: TokenSequence, needs: frozenset[str] = frozenset()) -> TokenSequence:
        """Run the half block; the trace of the result has the fields named in `needs`."""
        if tokens.carry is not None:
            raise UserError(
                "cross scans take no decay over from dropped tokens: "
                "choose a method without alignment"
            )
        if tokens.rectangle is None:
            raise UserError(
                "cross scans read a map of tokens, and these fill no rectangle: "
                "choose a method of the grid, such as storm"
            )
        if self.downsample is not None:
            tokens = self._halved(tokens, self.downsample)
        # Read again, since halving changes it.
        rectangle = tokens.rectangle
        assert rectangle is not None
        residual = tokens.residual + tokens.branch
        u = layer_norm(self.norm, residual)
        branch, trace = self.mixer(u, rectangle, needs)
        return replace(tokens, branch=branch, residual=residual, trace=trace)

    def _halved(self, tokens: TokenSequence, downsample: nn.Module) -> TokenSequence:
        assert tokens.rectangle is not None
        # The residual is fp32 also where the convolution's weights are narrower.
        total = (tokens.residual + tokens.branch).to(tokens.branch.dtype)
        grid = total.transpose(1, 2).unflatten(2, tokens.rectangle)
        # A library's convolution may sum in another order for one image than for many.
        smaller = batch_invariant.convolve(downsample, grid)
        return halved(tokens, smaller.flatten(2).transpose(1, 2))

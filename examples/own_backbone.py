"""A Vim with another mixer: tokens weigh each other by decay; each sets how long its step is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn.functional import silu, softplus

from backbones.config import with_overrides
from backbones.layers.batch_invariant import linear
from backbones.layers.norm import RMSNorm
from backbones.models.sizes import MambaConfig
from backbones.models.vim import Vim
from backbones.sequence import TokenSequence, Trace
from backbones.shape import Shape, Work


@dataclass(frozen=True)
class Config(MambaConfig):
    """Sizes for the bundled images; each is a setting, such as ``decay_vim[depth=4]``."""

    dim: int = 64
    depth: int = 8
    heads: int = 4
    image_size: int = 56
    patch: int = 4
    stride: int = 4
    classes: int = 10


class Block(nn.Module):
    """Residual += branch; branch = out(silu(gate) * mean of values, weighed by step and decay)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.inner, self.heads = 2 * config.dim, config.heads
        self.norm = RMSNorm(config.dim)
        self.inside = nn.Linear(config.dim, 2 * self.inner + self.heads, bias=False)
        self.out = nn.Linear(self.inner, config.dim, bias=False)

    def forward(self, tokens: TokenSequence, needs: frozenset[str] = frozenset()) -> TokenSequence:
        """Run the block; the trace of the result has the fields named in `needs`."""
        residual = tokens.residual + tokens.branch
        inside = linear(self.norm(residual), self.inside.weight)
        values, gate, step = inside.split([self.inner, self.inner, self.heads], dim=2)
        step = softplus(step).transpose(1, 2)  # (B, heads, L)
        place = step.cumsum(2)
        distance = (place[:, :, :, None] - place[:, :, None, :]).abs()
        weight = torch.exp(-distance) * step[:, :, None, :]
        weight = weight / weight.sum(3, keepdim=True)
        mixed = weight @ values.unflatten(2, (self.heads, -1)).transpose(1, 2)
        y = mixed.transpose(1, 2).flatten(2) * silu(gate)
        # What a method may read of the block; both directions of its scan have one step.
        shown = {"delta_mean": step.mean(1).expand(2, -1, -1), "y": y}
        trace = Trace(**{name: shown[name] for name in needs})
        branch = linear(y, self.out.weight)
        return replace(tokens, branch=branch, residual=residual, trace=trace)


def work(shape: Shape, block: int, tokens: int) -> Work:
    """Multiply-accumulates of one block: its two projections, and the weights times the values."""
    inside = tokens * shape.dim * (2 * shape.inner + shape.heads)
    return Work(gemm=inside + tokens**2 * shape.inner + tokens * shape.inner * shape.dim)


class DecayVim(Vim):
    """Patches, class token, positions and head are Vim's."""

    provides = frozenset({"delta_mean", "y"})

    def __init__(self, config: Config) -> None:
        super().__init__("decay_vim", config)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.depth))

    def describe(self) -> Shape:
        """The sizes from which FLOPs follow."""
        block = self.layers[0]
        return self._shape(inner=block.inner, heads=block.heads, directions=2, work=work)


def decay_vim(**settings: Any) -> DecayVim:
    """Build it with these settings."""
    return DecayVim(with_overrides(Config(), "decay_vim", settings))

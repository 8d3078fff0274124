"""A Vim with another mixer: tokens weigh each other by decay; each sets how long its step is."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu, softplus

from backbones.config import with_overrides
from backbones.layers.batch_invariant import linear
from backbones.layers.block import Block
from backbones.models.sizes import VIM, MambaConfig
from backbones.models.vim import Vim
from backbones.sequence import Trace
from backbones.shape import Shape, Work


@dataclass(frozen=True)
class Config(MambaConfig):
    """Sizes of a Vim and the heads; each is a setting, such as ``decay_vim[depth=4]``."""

    heads: int = 4


class Mixer(nn.Module):
    """Mean of all values, weighed by step and decay, times silu(gate)."""

    kernel = "reference"  # of the addition and norm before it: plain PyTorch

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.inner, self.heads = 2 * dim, heads
        self.in_proj = nn.Linear(dim, 2 * self.inner + heads, bias=False)
        self.out_proj = nn.Linear(self.inner, dim, bias=False)

    def forward(self, x: Tensor, needs: frozenset[str], carry: None) -> tuple[Tensor, Trace]:
        """Mix tokens (B, L, dim); the trace has the fields named in `needs`."""
        inside = linear(x, self.in_proj.weight)
        values, gate, step = inside.split([self.inner, self.inner, self.heads], dim=2)
        step = softplus(step).transpose(1, 2)  # (B, heads, L)
        place = step.cumsum(2)
        weight = torch.exp(-(place[..., None] - place[:, :, None]).abs()) * step[:, :, None]
        weight = weight / weight.sum(3, keepdim=True)
        mixed = weight @ values.unflatten(2, (self.heads, -1)).transpose(1, 2)
        y = mixed.transpose(1, 2).flatten(2) * silu(gate)
        # What a method may read of it; both directions of this scan have one step.
        shown = {"delta_mean": step.mean(1).expand(2, -1, -1), "y": y}
        return linear(y, self.out_proj.weight), Trace(**{name: shown[name] for name in needs})


def work(shape: Shape, block: int, tokens: int) -> Work:
    """Multiply-accumulates of one block: its two projections, and the weights times the values."""
    inside = tokens * shape.dim * (2 * shape.inner + shape.heads)
    return Work(gemm=inside + tokens**2 * shape.inner + tokens * shape.inner * shape.dim)


class DecayVim(Vim):
    """Patches, class token, positions, residual stream and head are Vim's."""

    provides = frozenset({"delta_mean", "y"})

    def new_block(self, index: int) -> nn.Module:
        """Block number `index`."""
        return Block(self.config.dim, Mixer(self.config.dim, self.config.heads))

    def describe(self) -> Shape:
        """The sizes from which FLOPs follow."""
        inner, heads = 2 * self.config.dim, self.config.heads
        return self._shape(inner=inner, heads=heads, directions=2, work=work)


def decay_vim(**settings: Any) -> DecayVim:
    """Build it, by default for the bundled images."""
    usual = Config(**vars(VIM["vim_nano"]))
    return DecayVim("decay_vim", with_overrides(usual, "decay_vim", settings))

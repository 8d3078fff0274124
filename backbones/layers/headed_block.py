"""A block of Adventurer: a Mamba-2 mixer behind a mean token, then an MLP."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.layers.headed_mixer import HeadedMixer
from backbones.layers.headed_passes import passes_for
from backbones.layers.norm import RMSNorm
from backbones.layers.swiglu import SwiGLU
from backbones.sequence import TokenSequence, Trace, turned


class HeadedBlock(nn.Module):
    """Residual += branch; residual += mixer(norm(residual)); branch = mlp(norm(residual)).

    The mixer reads the mean of all tokens first and its output there is dropped. With `flipped` it
    reads all tokens but the last backwards.
    """

    def __init__(
        self, dim: int, mixer: HeadedMixer, hidden: int, flipped: bool, weighted: bool
    ) -> None:
        """`hidden` channels in the MLP; `weighted`: the mean counts tokens by their size."""
        super().__init__()
        self.mixer = mixer
        self.norm = RMSNorm(dim)
        self.mlp = SwiGLU(dim, hidden)
        self.norm_mlp = RMSNorm(dim)
        self.flipped = flipped
        self.weighted = weighted

    def forward(self, tokens: TokenSequence, needs: frozenset[str] = frozenset()) -> TokenSequence:
        """Run the block on `tokens`; the trace of the result has the fields named in `needs`."""
        passes = passes_for(self.mixer.kernel, tokens.branch)
        residual, u = passes.add_norm(tokens.branch, tokens.residual, self.norm)
        mean = self._mean(u, tokens.size)
        carry = None if tokens.carry is None else tokens.carry[0]
        if self.flipped:
            u = turned(u, 1)
            # The gap before a token is, read the other way, the gap before its neighbour.
            carry = None if carry is None else carry.flip(1)
        if carry is not None:
            # nothing was dropped before the mean token
            carry = functional.pad(carry, (0, 0, 1, 0))
        mixed, trace = self.mixer(torch.cat([mean, u], dim=1), needs, carry, lead=1)
        if self.flipped:
            mixed, trace = turned(mixed, 1), _turned_trace(trace)
        residual, u = passes.add_norm(mixed, residual, self.norm_mlp)
        branch = self.mlp(u, passes)
        return replace(tokens, branch=branch, residual=residual, trace=trace)

    def _mean(self, u: Tensor, size: Tensor) -> Tensor:
        """The mean (B, 1, C) of tokens (B, L, C), by their sizes if so configured."""
        # A merged token stands for all tokens that went into it.
        wide = u.to(torch.promote_types(u.dtype, torch.float32))
        size = (size if self.weighted else torch.ones_like(size)).to(wide.dtype)[..., None]
        mean = (wide * size).sum(1, keepdim=True) / size.sum(1, keepdim=True)
        return mean.to(u.dtype)


def _turned_trace(trace: Trace) -> Trace:
    """The trace of a flipped block, its tokens in image order."""
    stacked = {"delta_mean": 2, "delta": 2, "B": 2, "C": 2, "y": 1, "ungated": 1}
    fields = {}
    for name, axis in stacked.items():
        value: Tensor | None = getattr(trace, name)
        if value is not None:
            fields[name] = turned(value, axis)
    return replace(trace, **fields, flipped=True)

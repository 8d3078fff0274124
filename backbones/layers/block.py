"""A Vim block: add the last branch to the residual, normalise, mix."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from backbones.layers import fused_path as fused
from backbones.layers.mixer import BidirectionalMixer
from backbones.layers.norm import RMSNorm
from backbones.sequence import TokenSequence


class Block(nn.Module):
    """residual += branch; branch = mixer(norm(residual)). The residual stays in fp32 (fp64 in an fp64 model)."""

    def __init__(self, dim: int, mixer: BidirectionalMixer, eps: float = 1e-5) -> None:
        """`dim` channels; `mixer` maps (B, L, dim) to the next branch."""
        super().__init__()
        self.mixer = mixer
        self.norm = RMSNorm(dim, eps)

    def forward(self, tokens: TokenSequence, needs: frozenset[str] = frozenset()) -> TokenSequence:
        """Run the block on `tokens`; the trace of the result holds the fields named in `needs`."""
        if fused.serves(self.mixer.kernel, tokens.branch) or fused.trains(
            self.mixer.kernel, tokens.branch
        ):
            residual, u = fused.add_norm(tokens.branch, tokens.residual, self.norm)
        else:
            residual = tokens.residual + tokens.branch
            u = self.norm(residual)
        branch, trace = self.mixer(u, needs, tokens.carry)
        return replace(tokens, branch=branch, residual=residual, trace=trace)

"""A Vim block: add the last branch to the residual, normalise, mix."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from backbones.layers import fused_path
from backbones.layers.mixer import BidirectionalMixer
from backbones.layers.norm import RMSNorm
from backbones.sequence import TokenSequence


class Block(nn.Module):
    """Residual += branch; branch = mixer(norm(residual)).

    The residual stays in fp32 (fp64 in an fp64 model).
    """

    def __init__(self, dim: int, mixer: BidirectionalMixer, eps: float = 1e-5) -> None:
        """`dim` channels; `mixer` maps (B, L, dim) to the next branch."""
        super().__init__()
        self.mixer = mixer
        self.norm = RMSNorm(dim, eps)

    def forward(self, tokens: TokenSequence, needs: frozenset[str] = frozenset()) -> TokenSequence:
        """Run the block on `tokens`; the trace of the result has the fields named in `needs`."""
        kernel, branch = self.mixer.kernel, tokens.branch
        # On a GPU the fused addition and norm serve training as well; the mixer decides for itself.
        if fused_path.can_run(kernel, branch) or fused_path.can_train(kernel, branch):
            residual, u = fused_path.add_norm(branch, tokens.residual, self.norm)
        else:
            residual = tokens.residual + branch
            u = self.norm(residual)
        branch, trace = self.mixer(u, needs, tokens.carry)
        return replace(tokens, branch=branch, residual=residual, trace=trace)

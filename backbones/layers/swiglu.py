"""The gated MLP of Adventurer: SwiGLU (arXiv 2002.05202)."""

from __future__ import annotations

from torch import Tensor, nn

from backbones.layers.batch_invariant import linear
from backbones.layers.headed_passes import Passes


class SwiGLU(nn.Module):
    """w3(silu(w1 x) * w2 x), with biases."""

    def __init__(self, dim: int, hidden: int) -> None:
        """`dim` channels outside, `hidden` inside."""
        super().__init__()
        self.w1 = nn.Linear(dim, hidden)
        self.w2 = nn.Linear(dim, hidden)
        self.w3 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor, passes: Passes) -> Tensor:
        """(B, L, C) to (B, L, C)."""
        gate = linear(x, self.w1.weight, self.w1.bias, fast=passes.fast)
        values = linear(x, self.w2.weight, self.w2.bias, fast=passes.fast)
        hidden = passes.gate(values, gate)
        return linear(hidden, self.w3.weight, self.w3.bias, fast=passes.fast)

"""The gated MLP of Adventurer: SwiGLU (arXiv 2002.05202)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.layers.batch_invariant import linear


class SwiGLU(nn.Module):
    """w3(silu(w1 x) * w2 x), with biases."""

    def __init__(self, dim: int, hidden: int) -> None:
        """`dim` channels outside, `hidden` inside."""
        super().__init__()
        self.w1 = nn.Linear(dim, hidden)
        self.w2 = nn.Linear(dim, hidden)
        self.w3 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, C) to (B, L, C)."""
        fast = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_grad_enabled()
        gate = linear(x, self.w1.weight, self.w1.bias, fast=fast)
        value = linear(x, self.w2.weight, self.w2.bias, fast=fast)
        hidden = functional.silu(gate) * value
        return linear(hidden, self.w3.weight, self.w3.bias, fast=fast)

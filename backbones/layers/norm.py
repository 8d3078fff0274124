"""Normalisation of tokens, computed in at least fp32."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight (arXiv 1910.07467), computed in at least fp32."""

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        """`dim` channels."""
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (..., dim); the result has the weight's dtype."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        mean_square = wide.square().mean(dim=-1, keepdim=True)
        scale = torch.rsqrt(mean_square + self.eps)
        normalised = wide * scale * self.weight.to(wide.dtype)
        return normalised.to(self.weight.dtype)


def layer_norm(norm: nn.LayerNorm, residual: Tensor) -> Tensor:
    """Apply `norm` to the residual (..., C) in its precision; the result has the weight's dtype."""
    # The residual is fp32 in a model of lower precision, which `norm` itself would refuse.
    weight = norm.weight.to(residual.dtype)
    bias = norm.bias.to(residual.dtype)
    width = (residual.shape[-1],)
    normalised = functional.layer_norm(residual, width, weight, bias, norm.eps)
    return normalised.to(norm.weight.dtype)

"""What tests of logits beside a straight-line implementation share."""

import torch
from torch import Tensor

from backbones.base import Backbone


def images(side: int, dtype: torch.dtype, count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, side, side, dtype=torch.float64, generator=generator).to(dtype)


def doubled(model: Backbone) -> dict[str, Tensor]:
    return {name: tensor.double() for name, tensor in model.state_dict().items()}


def close(logits: Tensor, expected: Tensor, error: float) -> None:
    difference = (logits.double() - expected).abs().max()
    assert difference < error * max(1.0, float(expected.abs().max()))

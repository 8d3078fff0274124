"""Linear layers whose result for a row does not depend on how many rows stand beside it.

Matrix libraries take other paths for few rows (seen: MKL below 12, oneDNN at 1), which sum in
another order. Rows are therefore padded to a number at which the result of each was found to be
bit-identical for any count.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

FEWEST_ROWS = 16


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, fast: bool = False, gelu: bool = False
) -> Tensor:
    """X @ weight.T + bias for x (..., K), weight (M, K), bias (M,); on a CPU each row's bits are its own.

    `gelu` applies the exact GELU to the result. `fast`, for fp32 inference on a CPU, multiplies by
    oneDNN where torch has it (seen: twice MKL's speed on AMD with AVX-512); its bits differ from
    those of the plain product.
    """
    if x.device.type != "cpu":
        return _plain(x, weight, bias, gelu)
    rows = x.reshape(-1, x.shape[-1])
    count = rows.shape[0]
    if count < FEWEST_ROWS:
        rows = functional.pad(rows, (0, 0, 0, FEWEST_ROWS - count))
    multiply = _onednn if fast and _has_onednn() else _plain
    return multiply(rows, weight, bias, gelu)[:count].view(*x.shape[:-1], weight.shape[0])


def _plain(rows: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool) -> Tensor:
    product = functional.linear(rows, weight, bias)
    return functional.gelu(product) if gelu else product


def _onednn(rows: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool) -> Tensor:
    after, how = ("gelu", "none") if gelu else ("none", "")
    product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, after, [], how)
    return product


@cache
def _has_onednn() -> bool:
    try:
        with torch.device("cpu"):
            rows, weight, bias = torch.randn(FEWEST_ROWS, 8), torch.randn(4, 8), torch.randn(4)
        found = _onednn(rows, weight, bias, gelu=True)
    except (AttributeError, RuntimeError):
        return False
    return torch.allclose(found, functional.gelu(rows @ weight.T + bias), atol=1e-5)

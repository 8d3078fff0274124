"""Linear layers whose result for a row does not depend on how many rows stand beside it.

Matrix libraries take other paths for few rows (seen: MKL below 12, oneDNN at 1), which sum in another order. Rows are
therefore padded to a number at which the result of each was found to be bit-identical for any count.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

FEWEST_ROWS = 16


def linear(x: Tensor, weight: Tensor, *, fast: bool = False) -> Tensor:
    """X @ weight.T for x (..., K) and weight (M, K); on a CPU each row's bits are its own.

    `fast`, for fp32 inference on a CPU, multiplies by oneDNN where torch has it (seen: twice MKL's speed on AMD with
    AVX-512); its bits differ from those of the plain product.
    """
    if x.device.type != "cpu":
        return functional.linear(x, weight)
    rows = x.reshape(-1, x.shape[-1])
    count = rows.shape[0]
    if count < FEWEST_ROWS:
        rows = functional.pad(rows, (0, 0, 0, FEWEST_ROWS - count))
    multiply = _onednn if fast and _has_onednn() else functional.linear
    return multiply(rows, weight)[:count].view(*x.shape[:-1], weight.shape[0])


def _onednn(rows: Tensor, weight: Tensor) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, None, "none", [], "")
    return product


@cache
def _has_onednn() -> bool:
    try:
        rows, weight = torch.randn(FEWEST_ROWS, 8), torch.randn(4, 8)
        found = _onednn(rows, weight)
    except (AttributeError, RuntimeError):
        return False
    return torch.allclose(found, rows @ weight.T, atol=1e-5)

"""Single-precision functions against NumPy in fp64."""

from typing import Any

import numba
import numpy as np

from backbones.compiled.numerics import exp, exp2, sigmoid, softplus, total


@numba.njit(error_model="numpy")
def _tabulate(x: Any, result: Any) -> None:
    for index in range(x.shape[0]):
        result[0, index] = exp(x[index])
        result[1, index] = softplus(x[index])
        result[2, index] = sigmoid(x[index])
        result[3, index] = exp2(min(x[index], np.float32(0)))
    result[4, 0] = total(x, x.shape[0])


def test_functions_agree_with_numpy_in_fp64() -> None:
    x = np.linspace(-80, 80, 40_001).astype(np.float32)
    result = np.zeros((5, x.size), dtype=np.float32)
    _tabulate(x, result)
    wide = x.astype(np.float64)
    expected = (
        np.exp(wide),
        np.log1p(np.exp(wide)),
        1 / (1 + np.exp(-wide)),
        np.exp2(np.minimum(wide, 0)),
    )
    for name, got, right in zip(
        ("exp", "softplus", "sigmoid", "exp2"), result, expected, strict=False
    ):
        assert np.abs(got / right - 1).max() < 4e-7, name
    assert abs(result[4, 0] - wide.sum()) < 1e-2
    assert result[3, x == 0] == 1

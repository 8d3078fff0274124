"""An independent selective scan in fp64: Python loops, without code of the product."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _loop_scan(
    u: Any,
    delta: Any,
    A: Any,
    B: Any,
    C: Any,
    D: Any = None,
    z: Any = None,
    delta_bias: Any = None,
    *,
    reverse: tuple[bool, ...],
    carry: Any = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Each direction's output (K, B, L, E) and the mean timescale (K, B, L), token by token."""
    arrays = [
        None if x is None else np.asarray(x, dtype=np.float64)
        for x in (u, delta, A, B, C, D, z, delta_bias, carry)
    ]
    u, delta, A, B, C, D, z, delta_bias, carry = arrays
    directions, batch, length, width = u.shape
    y = np.zeros_like(u)
    mean = np.zeros((directions, batch, length))
    for k in range(directions):
        order = range(length - 1, -1, -1) if reverse[k] else range(length)
        for i in range(batch):
            state = np.zeros((width, A.shape[-1]))
            for t in order:
                raw = delta[k, i, t] + (0 if delta_bias is None else delta_bias[k])
                step = _softplus(raw)
                mean[k, i, t] = step.sum() / width
                decay = step + (0 if carry is None else carry[k, i, t])
                for n in range(A.shape[-1]):
                    state[:, n] = (
                        np.exp(decay * A[k, :, n]) * state[:, n] + step * B[k, i, t, n] * u[k, i, t]
                    )
                row = (state * C[k, i, t]).sum(axis=1) + (0 if D is None else D[k] * u[k, i, t])
                if z is not None:
                    row = row * z[i, t] / (1 + np.exp(-z[i, t]))
                y[k, i, t] = row
    return y, mean


def _make_inputs(
    directions: int,
    batch: int,
    length: int,
    width: int,
    states: int,
    *,
    seed: int = 0,
    scale: float = 1.0,
    shift: float = 0.0,
    dtype: torch.dtype = torch.float32,
) -> dict[str, torch.Tensor]:
    """Every input of a scan, optional ones too; `delta` is scale * N(0, 1) + shift."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    tokens = (directions, batch, length)
    inputs = {
        "u": normal(*tokens, width),
        "delta": normal(*tokens, width) * scale + shift,
        "A": -torch.exp(0.5 * normal(directions, width, states) + 0.5),
        "B": normal(*tokens, states),
        "C": normal(*tokens, states),
        "D": normal(directions, width),
        "z": normal(batch, length, width),
        "delta_bias": normal(directions, width) - 1,
        "carry": normal(*tokens, width).abs() * (normal(*tokens, width) > 0),
    }
    return {name: tensor.to(dtype) for name, tensor in inputs.items()}


@pytest.fixture(scope="session")
def loop_scan() -> Callable[..., Any]:
    return _loop_scan


@pytest.fixture(scope="session")
def make_inputs() -> Callable[..., Any]:
    return _make_inputs


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread: None) -> None:
    """For all tests of scans."""

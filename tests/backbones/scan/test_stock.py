"""The layout logic around the CUDA packages, with stand-ins in plain PyTorch."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from backbones.layers.plain_path import plain_convolve
from backbones.scan import ScanInputs, stock
from backbones.scan.reference import reference_scan
from backbones.scan.stock import stock_convolve, stock_scan

BOTH = (False, True)


def stand_in_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
) -> Tensor:
    """`selective_scan_fn` as documented, (B, E, L); it refuses what the CUDA code refuses."""
    for tokens in (u, delta, B, C, *([] if z is None else [z])):
        assert tokens.is_contiguous()
        assert tokens.dtype == u.dtype
    for channels in (A, *(part for part in (D, delta_bias) if part is not None)):
        assert channels.dtype == torch.float32
    step = delta.float() + (0 if delta_bias is None else delta_bias[:, None])
    step = functional.softplus(step) if delta_softplus else step
    state = torch.zeros(*u.shape[:2], A.shape[1])
    columns = []
    for t in range(u.shape[2]):
        factor = torch.exp(step[:, :, t, None] * A)
        state = (
            factor * state
            + (step[:, :, t] * u[:, :, t].float())[:, :, None] * B[:, None, :, t].float()
        )
        columns.append((state * C[:, None, :, t].float()).sum(dim=-1))
    y = torch.stack(columns, dim=-1) + (0 if D is None else D[:, None] * u.float())
    return (y if z is None else y * functional.silu(z.float())).to(u.dtype)


def stand_in_conv(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str | None = None
) -> Tensor:
    """`causal_conv1d_fn` as documented: x (B, E, L), weight (E, taps)."""
    assert x.is_contiguous()
    assert weight.shape == (x.shape[1], 4)
    assert activation == "silu"
    padded = functional.pad(x, (3, 0))
    y = torch.stack(
        [weight[:, tap, None] * padded[:, :, tap : tap + x.shape[2]] for tap in range(4)]
    ).sum(dim=0)
    return functional.silu(y if bias is None else y + bias[:, None])


@pytest.fixture(autouse=True)
def packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock, "scan_function", lambda: stand_in_scan)
    monkeypatch.setattr(stock, "conv_function", lambda: stand_in_conv)


@pytest.mark.parametrize(
    "left_out", [(), ("carry",), ("z", "D"), ("delta_bias", "carry"), ("D", "z", "carry")]
)
@pytest.mark.parametrize("separate", [False, True])
def test_agrees_with_the_reference(
    make_inputs: Any, left_out: tuple[str, ...], separate: bool
) -> None:
    absent: Any = dict.fromkeys(left_out)
    inputs = ScanInputs(**make_inputs(2, 3, 7, 6, 4))._replace(**absent)
    result, expected = stock_scan(inputs, BOTH, separate), reference_scan(inputs, BOTH, separate)
    torch.testing.assert_close(result.y, expected.y, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(result.delta_mean, expected.delta_mean)
    assert stock_scan(inputs, BOTH, separate, mean=False).delta_mean.numel() == 0


@pytest.mark.parametrize("carried", [False, True])
def test_gradients_reach_every_input(make_inputs: Any, carried: bool) -> None:
    given = make_inputs(2, 2, 5, 4, 3)
    inputs = ScanInputs(**given if carried else {**given, "carry": None}).map(
        lambda part: part.requires_grad_()
    )
    leaves = [part for part in inputs if part is not None]
    result = torch.autograd.grad(stock_scan(inputs, BOTH, False).y.square().sum(), leaves)
    expected = torch.autograd.grad(reference_scan(inputs, BOTH, False).y.square().sum(), leaves)
    for one, other in zip(result, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_nothing_carried_changes_nothing(make_inputs: Any) -> None:
    given = make_inputs(2, 2, 5, 4, 3) | {"D": None, "z": None}
    free = stock_scan(ScanInputs(**given | {"carry": None}), BOTH, False).y
    zero = stock_scan(ScanInputs(**given | {"carry": torch.zeros_like(given["u"])}), BOTH, False).y
    torch.testing.assert_close(free, zero, rtol=1e-6, atol=1e-6)


def test_bf16_tokens_with_fp32_parameters(make_inputs: Any) -> None:
    given = make_inputs(2, 2, 6, 4, 3)
    coarse = {
        name: part.bfloat16() if name in ("u", "delta", "B", "C", "z") else part
        for name, part in given.items()
    }
    for carry in (None, given["carry"]):
        inputs = ScanInputs(**coarse | {"carry": carry})
        result, expected = stock_scan(inputs, BOTH, False), reference_scan(inputs, BOTH, False)
        assert result.y.dtype == torch.bfloat16
        assert result.delta_mean.dtype == torch.float32
        torch.testing.assert_close(result.y.float(), expected.y.float(), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("length", [1, 2, 9])
def test_convolution_agrees_with_torch(backwards: bool, length: int) -> None:
    torch.manual_seed(length)
    x, weight, bias = torch.randn(2, length, 12)[..., 6:], torch.randn(6, 1, 4), torch.randn(6)
    expected = plain_convolve(x, weight, bias, backwards)
    torch.testing.assert_close(stock_convolve(x, weight, bias, backwards), expected)

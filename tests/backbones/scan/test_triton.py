"""The Triton kernels against the fp64 loop and autograd, on a GPU or in the interpreter."""

from typing import Any

import pytest
import torch

from backbones.scan import ScanInputs
from backbones.scan.operator import scan_operator
from backbones.scan.reference import reference_scan
from backbones.scan.triton_scan import Tiles, triton_scan, triton_scan_backward

BOTH = (False, True)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SLOW = pytest.mark.slow  # in the interpreter
OPTIONAL = ("D", "z", "delta_bias", "carry")
TOKENS = ("u", "delta", "B", "C", "z", "carry")


def on_device(inputs: dict[str, Any]) -> ScanInputs:
    return ScanInputs(**inputs).map(lambda part: part.to(DEVICE))


def relative(result: Any, expected: Any) -> float:
    """Largest error over the largest value."""
    expected = torch.as_tensor(expected).double()
    return float(
        (result.cpu().double() - expected).abs().max() / expected.abs().max().clamp(min=1e-300)
    )


@pytest.mark.parametrize(
    ("reverse", "batch", "length", "width", "states", "left_out"),
    [
        (BOTH, 2, 6, 40, 4, ()),
        pytest.param(BOTH, 1, 9, 64, 16, ("carry",), marks=SLOW),
        pytest.param((True,), 2, 1, 3, 1, ("z",), marks=SLOW),
        pytest.param((False, True, True), 1, 5, 70, 3, ("D", "delta_bias"), marks=SLOW),
        (BOTH, 1, 4, 33, 5, OPTIONAL),
    ],
)
def test_agrees_with_the_loop(
    loop_scan: Any,
    make_inputs: Any,
    reverse: tuple[bool, ...],
    batch: int,
    length: int,
    width: int,
    states: int,
    left_out: tuple[str, ...],
) -> None:
    inputs = make_inputs(len(reverse), batch, length, width, states)
    inputs = {name: tensor for name, tensor in inputs.items() if name not in left_out}
    y, mean = loop_scan(**inputs, reverse=reverse)
    apart = triton_scan(on_device(inputs), reverse, separate=True)
    assert relative(apart.y, y) < 1e-5
    assert relative(apart.delta_mean, mean) < 1e-5
    summed = triton_scan(on_device(inputs), reverse, separate=False)
    assert torch.equal(summed.y, sum(apart.y[1:], start=apart.y[0]))
    assert torch.equal(summed.delta_mean, apart.delta_mean)


@pytest.mark.parametrize(
    ("scale", "shift"),
    [(2.0, 25.0), (1.0, -14.0), pytest.param(8.0, -3.0, marks=SLOW)],
)
def test_timescales_that_saturate_or_vanish(
    loop_scan: Any, make_inputs: Any, scale: float, shift: float
) -> None:
    inputs = make_inputs(2, 1, 9, 6, 3, scale=scale, shift=shift)
    y, mean = loop_scan(**inputs, reverse=BOTH)
    result = triton_scan(on_device(inputs), BOTH, separate=True)
    assert relative(result.y, y) < 1e-5
    assert relative(result.delta_mean, mean) < 1e-5


def test_strided_inputs_are_read_in_place(make_inputs: Any) -> None:
    inputs = make_inputs(2, 2, 5, 20, 4)
    expected = triton_scan(on_device(inputs), BOTH, separate=False)
    wide = {name: torch.cat([inputs[name], inputs[name] + 1], dim=-1).to(DEVICE) for name in TOKENS}
    slices = {name: tensor[..., : inputs[name].shape[-1]] for name, tensor in wide.items()}
    transposed = inputs["u"].to(DEVICE).transpose(2, 3).contiguous().transpose(2, 3)
    given = on_device(inputs)._replace(**slices)._replace(u=transposed)
    result = triton_scan(given, BOTH, separate=False)
    assert torch.equal(result.y, expected.y)
    assert torch.equal(result.delta_mean, expected.delta_mean)


def test_by_products(make_inputs: Any) -> None:
    inputs = on_device(make_inputs(2, 2, 5, 20, 4))
    step, ungated = torch.empty_like(inputs.u), torch.empty_like(inputs.u)
    whole = triton_scan(inputs, BOTH, separate=False)
    result = triton_scan(
        inputs, BOTH, separate=False, scale=0.5, mean=False, step=step, ungated=ungated
    )
    assert torch.equal(result.y, 0.5 * whole.y)
    assert result.delta_mean.numel() == 0
    torch.testing.assert_close(step.mean(dim=-1), whole.delta_mean)
    bare = inputs._replace(z=None)
    assert torch.equal(ungated, triton_scan(bare, BOTH, separate=True).y)
    summed = torch.empty_like(result.y)
    triton_scan(inputs, BOTH, separate=True, scale=0.5, ungated=summed)
    assert torch.equal(summed, triton_scan(bare, BOTH, separate=False, scale=0.5).y)


def test_half_precision_keeps_its_state_in_fp32(loop_scan: Any, make_inputs: Any) -> None:
    coarse = {
        name: tensor.bfloat16() if name in ("u", "delta", "B", "C", "z") else tensor
        for name, tensor in make_inputs(2, 1, 12, 8, 4).items()
    }
    y, mean = loop_scan(**{name: tensor.float() for name, tensor in coarse.items()}, reverse=BOTH)
    result = triton_scan(on_device(coarse), BOTH, separate=True)
    assert result.y.dtype == torch.bfloat16
    assert result.delta_mean.dtype == torch.float32
    assert (
        relative(result.y, y) < 8e-3
    )  # one rounding of the output; the interpreter rounds towards zero
    assert relative(result.delta_mean, mean) < 1e-5
    summed = triton_scan(on_device(coarse), BOTH, separate=False)
    if DEVICE == "cuda":
        assert torch.equal(summed.y, result.y[0] + result.y[1])
    else:
        torch.testing.assert_close(summed.y, result.y[0] + result.y[1], rtol=1 / 64, atol=0)


@pytest.mark.parametrize(
    ("reverse", "batch", "length", "width", "states", "separate", "left_out", "shift"),
    [
        pytest.param(BOTH, 2, 6, 40, 4, False, (), 0.0, marks=SLOW),
        (BOTH, 1, 9, 6, 3, True, ("carry",), 20.0),
        pytest.param((True,), 1, 1, 3, 1, False, ("z",), -12.0, marks=SLOW),
        (BOTH, 1, 4, 33, 16, False, OPTIONAL, 0.0),
    ],
)
def test_gradients_agree_with_autograd_in_fp64(
    make_inputs: Any,
    reverse: tuple[bool, ...],
    batch: int,
    length: int,
    width: int,
    states: int,
    separate: bool,
    left_out: tuple[str, ...],
    shift: float,
) -> None:
    inputs = make_inputs(len(reverse), batch, length, width, states, seed=length, shift=shift)
    inputs = {name: tensor for name, tensor in inputs.items() if name not in left_out}
    leaves = ScanInputs(**inputs).map(lambda tensor: tensor.double().requires_grad_())
    outputs = reference_scan(leaves, reverse, separate)
    weights = [torch.cos(torch.arange(part.numel()).double()).view(part.shape) for part in outputs]
    present = [leaf for leaf in leaves if leaf is not None]
    expected = dict(zip(inputs, torch.autograd.grad(tuple(outputs), present, weights), strict=True))
    dy, dmean = (weight.float().to(DEVICE) for weight in weights)
    result = triton_scan_backward(dy, dmean, on_device(inputs), reverse, separate)
    for name, gradient in zip(ScanInputs._fields, result, strict=True):
        if name not in inputs:
            assert gradient.numel() == 0
            continue
        # a gradient of a sum of two terms that nearly cancel is only as exact as the terms
        scale = max(float(expected[name].abs().max()), 1e-3 * float(expected["u"].abs().max()))
        assert float((gradient.cpu().double() - expected[name]).abs().max()) < 1e-5 * scale, name


@pytest.mark.slow
@pytest.mark.parametrize("tiles", [Tiles(32, 64, 3)])
def test_however_the_work_is_cut(make_inputs: Any, tiles: Tiles) -> None:
    inputs = on_device(make_inputs(2, 1, 5, 40, 3))
    expected = triton_scan(inputs, BOTH, separate=False)
    result = triton_scan(inputs, BOTH, separate=False, tiles=tiles)
    torch.testing.assert_close(result, expected)
    given = torch.ones_like(expected.y), torch.ones_like(expected.delta_mean), inputs, BOTH, False
    pairs = zip(triton_scan_backward(*given, tiles), triton_scan_backward(*given), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_torch_accepts_the_operator(make_inputs: Any) -> None:
    inputs = on_device(make_inputs(2, 1, 2, 4, 2)).map(lambda part: part.requires_grad_())
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(scan_operator, (*inputs, list(BOTH), False, "triton"), test_utils=checks)


def test_gradients_pass_through_the_operator(make_inputs: Any) -> None:
    given = make_inputs(2, 1, 3, 4, 2)
    leaves = on_device(given).map(lambda part: part.requires_grad_())
    y, _ = scan_operator(*leaves, list(BOTH), False, "triton")
    result = torch.autograd.grad(y.square().sum(), [x for x in leaves if x is not None])
    wide = ScanInputs(**given).map(lambda part: part.double().requires_grad_())
    loss = reference_scan(wide, BOTH, False).y.square().sum()
    expected = torch.autograd.grad(loss, [x for x in wide if x is not None])
    for one, other in zip(result, expected, strict=True):
        assert relative(one, other) < 1e-5

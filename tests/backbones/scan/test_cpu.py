"""The compiled CPU kernel against the fp64 loop, and its gradient against autograd in fp64."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backbones.compiled import threads
from backbones.scan import ScanInputs, selective_scan
from backbones.scan.cpu import cpu_scan

BOTH = (False, True)


def relative(found: Any, expected: Any) -> float:
    """Largest error over the largest value."""
    found, expected = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-300))


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (2.0, 25.0), (1.0, -14.0), (8.0, -3.0)])
def test_every_length_agrees_with_the_loop(
    loop_scan: Any, make_inputs: Any, scale: float, shift: float
) -> None:
    # all that fit a step or two of the kernel's loops, and some beyond
    lengths = (*range(1, 36), 63, 64, 65, 197, 200) if shift == 0 else (1, 2, 3, 31, 197, 200)
    for length in lengths:
        inputs = make_inputs(2, 1, length, 6, 3, seed=length, scale=scale, shift=shift)
        y, mean = loop_scan(**inputs, reverse=BOTH)
        found = selective_scan(**inputs, reverse=BOTH, separate=True, kernel="cpu")
        assert relative(found.y, y) < 1e-5
        assert relative(found.delta_mean, mean) < 1e-5


@settings(max_examples=25, deadline=None)
@given(
    length=st.integers(1, 20),
    batch=st.integers(1, 4),
    width=st.integers(1, 290),
    states=st.integers(1, 17),
    reverse=st.lists(st.booleans(), min_size=1, max_size=3).map(tuple),
    left_out=st.sets(st.sampled_from(["D", "z", "delta_bias", "carry"])),
    seed=st.integers(0, 1000),
)
def test_any_shape_agrees_with_the_loop(
    loop_scan: Any,
    make_inputs: Any,
    length: int,
    batch: int,
    width: int,
    states: int,
    reverse: tuple[bool, ...],
    left_out: set[str],
    seed: int,
) -> None:
    inputs = make_inputs(len(reverse), batch, length, width, states, seed=seed)
    inputs = {name: tensor for name, tensor in inputs.items() if name not in left_out}
    y, mean = loop_scan(**inputs, reverse=reverse)
    apart = selective_scan(**inputs, reverse=reverse, separate=True, kernel="cpu")
    summed = selective_scan(**inputs, reverse=reverse, kernel="cpu")
    assert relative(apart.y, y) < 1e-5
    assert relative(summed.delta_mean, mean) < 1e-5
    assert torch.equal(summed.y, sum(apart.y[1:], start=apart.y[0]))


def test_strided_inputs_are_read_in_place(make_inputs: Any) -> None:
    inputs = make_inputs(2, 3, 9, 20, 4)
    expected = selective_scan(**inputs, reverse=BOTH, kernel="cpu")
    wide = {
        name: torch.cat([inputs[name], inputs[name] + 1], dim=-1)
        for name in ("u", "delta", "B", "C", "z", "carry")
    }
    slices = {name: tensor[..., : inputs[name].shape[-1]] for name, tensor in wide.items()}
    transposed = inputs["u"].transpose(2, 3).contiguous().transpose(2, 3)
    found = selective_scan(**inputs | slices | {"u": transposed}, reverse=BOTH, kernel="cpu")
    assert torch.equal(found.y, expected.y)
    assert torch.equal(found.delta_mean, expected.delta_mean)


@settings(max_examples=15, deadline=None)
@given(
    batch=st.integers(1, 33),
    length=st.integers(1, 12),
    width=st.sampled_from([16, 130, 384]),
    seed=st.integers(0, 99),
)
def test_bits_do_not_depend_on_batch_or_threads(
    make_inputs: Any, batch: int, length: int, width: int, seed: int
) -> None:
    inputs = make_inputs(2, batch, length, width, 8, seed=seed)
    whole = selective_scan(**inputs, reverse=BOTH, kernel="cpu")
    image = seed % batch
    per_image = {
        name: inputs[name][:, image : image + 1] for name in ("u", "delta", "B", "C", "carry")
    }
    alone = selective_scan(
        **inputs | per_image | {"z": inputs["z"][image : image + 1]}, reverse=BOTH, kernel="cpu"
    )
    assert torch.equal(whole.y[image], alone.y[0])
    assert torch.equal(whole.delta_mean[:, image], alone.delta_mean[:, 0])
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        assert torch.equal(selective_scan(**inputs, reverse=BOTH, kernel="cpu").y, whole.y)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("width", [16, 130])
def test_the_output_before_the_gate_is_had_beside_the_gated(make_inputs: Any, width: int) -> None:
    inputs = ScanInputs(**make_inputs(2, 2, 7, width, 4))
    bare = inputs._replace(z=None)
    for separate in (True, False):
        expected = cpu_scan(bare, BOTH, separate, scale=0.5).y
        ungated = torch.empty_like(expected)
        result = cpu_scan(inputs, BOTH, False, scale=0.5, ungated=ungated)
        assert torch.equal(result.y, cpu_scan(inputs, BOTH, False, scale=0.5).y)
        assert torch.equal(ungated, expected)


def test_threads_of_python_give_the_same_bits(
    make_inputs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = make_inputs(2, 5, 30, 40, 4)
    expected = selective_scan(**inputs, reverse=BOTH, kernel="cpu").y
    monkeypatch.setattr(threads, "_openmp_parallel", lambda: None)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert torch.equal(selective_scan(**inputs, reverse=BOTH, kernel="cpu").y, expected)


def test_nan_is_not_hidden(make_inputs: Any) -> None:
    inputs = make_inputs(1, 2, 6, 5, 3)
    inputs["delta"][0, 1, 2, 3] = float("nan")
    y = selective_scan(**inputs, reverse=(False,), kernel="cpu").y
    assert y[1, 2:, 3].isnan().all()
    assert not y[0].isnan().any()
    assert not y[1, :2].isnan().any()


def gradients(
    inputs: dict[str, Any], kernel: str, reverse: tuple[bool, ...], separate: bool
) -> Any:
    """Gradients of a fixed function of y and delta_mean, by name."""
    leaves: dict[str, Any] = {
        name: tensor.detach().requires_grad_() for name, tensor in inputs.items()
    }
    result = selective_scan(**leaves, reverse=reverse, separate=separate, kernel=kernel)
    loss = torch.zeros((), dtype=result.y.dtype)
    for part in result:
        loss = (
            loss
            + (
                part * torch.cos(torch.arange(part.numel(), dtype=part.dtype)).view(part.shape)
            ).sum()
        )
    return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))


@settings(max_examples=15, deadline=None)
@given(
    length=st.integers(1, 24),
    batch=st.integers(1, 3),
    width=st.integers(1, 70),
    states=st.integers(1, 9),
    reverse=st.lists(st.booleans(), min_size=1, max_size=2).map(tuple),
    separate=st.booleans(),
    left_out=st.sets(st.sampled_from(["D", "z", "delta_bias", "carry"])),
    shift=st.sampled_from([0.0, 20.0, -12.0]),
)
def test_gradients_agree_with_autograd_in_fp64(
    make_inputs: Any,
    length: int,
    batch: int,
    width: int,
    states: int,
    reverse: tuple[bool, ...],
    separate: bool,
    left_out: set[str],
    shift: float,
) -> None:
    inputs = make_inputs(len(reverse), batch, length, width, states, seed=length, shift=shift)
    inputs = {name: tensor for name, tensor in inputs.items() if name not in left_out}
    found = gradients(inputs, "cpu", reverse, separate)
    wide = {name: tensor.double() for name, tensor in inputs.items()}
    expected = gradients(wide, "reference", reverse, separate)
    for name, gradient in expected.items():
        # a gradient of a sum of two terms that nearly cancel is only as exact as the terms
        scale = max(float(gradient.abs().max()), 1e-3 * float(expected["u"].abs().max()))
        assert float((found[name].double() - gradient).abs().max()) < 1e-4 * scale, name

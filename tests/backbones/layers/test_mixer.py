"""The mixer against Vim's forward pass in fp64, and the promises of its two paths."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backbones.common.errors import UserError
from backbones.layers.mixer import OUTPUTS, TRACED, BidirectionalMixer
from backbones.layers.scan_weights import initial_scan

VIM_TINY = {
    "A_log": (384, 16),
    "A_b_log": (384, 16),
    "D": (384,),
    "D_b": (384,),
    "in_proj.weight": (768, 192),
    "conv1d.weight": (384, 1, 4),
    "conv1d.bias": (384,),
    "conv1d_b.weight": (384, 1, 4),
    "conv1d_b.bias": (384,),
    "x_proj.weight": (44, 384),
    "x_proj_b.weight": (44, 384),
    "dt_proj.weight": (384, 12),
    "dt_proj.bias": (384,),
    "dt_proj_b.weight": (384, 12),
    "dt_proj_b.bias": (384,),
    "out_proj.weight": (192, 384),
}


pytestmark = pytest.mark.usefixtures("one_thread")


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def straight_line(
    mixer: BidirectionalMixer, u: np.ndarray, carry: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Vim's forward pass for one image u (L, C)."""
    # The backward branch flips everything, scans forwards, and flips back.
    weights = {name: value.detach().double().numpy() for name, value in mixer.state_dict().items()}
    length = u.shape[0]
    xz = u @ weights["in_proj.weight"].T
    names = ("delta", "B", "C", "y", "ungated")
    result: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for suffix in ("", "_b"):
        flipped = xz[::-1] if suffix else xz
        x, z = flipped[:, : mixer.inner], flipped[:, mixer.inner :]
        padded = np.concatenate([np.zeros((mixer.d_conv - 1, mixer.inner)), x])
        conv = weights[f"conv1d{suffix}.weight"][:, 0]
        rows = [sum(conv[:, j] * padded[t + j] for j in range(mixer.d_conv)) for t in range(length)]
        inputs = silu(np.stack(rows) + weights[f"conv1d{suffix}.bias"])
        projected = inputs @ weights[f"x_proj{suffix}.weight"].T
        dt, B, C = np.split(projected, [mixer.dt_rank, mixer.dt_rank + mixer.d_state], axis=1)
        raw = dt @ weights[f"dt_proj{suffix}.weight"].T + weights[f"dt_proj{suffix}.bias"]
        delta = np.log1p(np.exp(raw))
        A = -np.exp(weights["A_b_log" if suffix else "A_log"])
        state = np.zeros_like(A)
        y = np.zeros_like(inputs)
        for t in range(length):
            extra = 0 if carry is None else (carry[1, ::-1] if suffix else carry[0])[t][:, None]
            state = (
                np.exp((delta[t][:, None] + extra) * A) * state
                + (delta[t] * inputs[t])[:, None] * B[t]
            )
            y[t] = state @ C[t] + weights[f"D{suffix}"] * inputs[t]
        for name, part in zip(names, (delta, B, C, y * silu(z), y), strict=True):
            result[name].append(part[::-1] if suffix else part)
    shown = {name: np.stack(result[name]) for name in ("delta", "B", "C")}
    for name in ("y", "ungated"):
        shown[f"{name}_forward"], shown[f"{name}_backward"] = result[name]
        shown[name] = (result[name][0] + result[name][1]) / (2 if mixer.divide else 1)
    return shown | {
        "delta_mean": shown["delta"].mean(axis=2),
        "out": shown["y"] @ weights["out_proj.weight"].T,
    }


def new_mixer(dim: int = 24, **options: Any) -> BidirectionalMixer:
    """A mixer whose parameters are all random, so that none can be left out unnoticed."""
    torch.manual_seed(dim)
    mixer = BidirectionalMixer(dim, d_state=4, **options)
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return mixer


@pytest.mark.parametrize("length", [1, 2, 3, 11])
@pytest.mark.parametrize("divide", [True, False])
@pytest.mark.parametrize("carried", [False, True])
def test_agrees_with_the_straight_line(length: int, divide: bool, carried: bool) -> None:
    mixer = new_mixer(divide=divide)
    u = torch.randn(2, length, 24, dtype=torch.float64)
    carry = torch.rand(2, 2, length, 48, dtype=torch.float64) if carried else None
    needs = TRACED - {"A"}
    with torch.no_grad():
        fused, fused_trace = mixer(u.float(), needs, None if carry is None else carry.float())
        plain, trace = mixer.double()(u, needs, carry)
    for image in range(2):
        expected = straight_line(
            mixer, u[image].numpy(), None if carry is None else carry[:, image].numpy()
        )
        assert np.abs(plain[image].numpy() - expected["out"]).max() < 1e-9
        scale = np.abs(expected["out"]).max()
        assert np.abs(fused[image].numpy() - expected["out"]).max() < 1e-5 * scale
        for name in needs:
            index = (image,) if name in OUTPUTS else (slice(None), image)
            value, coarse = (
                getattr(trace, name)[index].numpy(),
                getattr(fused_trace, name)[index].numpy(),
            )
            assert np.abs(value - expected[name]).max() < 1e-9, name
            assert np.abs(coarse - expected[name]).max() < 1e-5 * max(
                np.abs(expected[name]).max(), 1
            ), name


def test_parameters_are_those_of_vim() -> None:
    mixer = BidirectionalMixer(192)
    assert {name: tuple(value.shape) for name, value in mixer.state_dict().items()} == VIM_TINY


def test_initial_values_are_those_of_mamba() -> None:
    mixer = BidirectionalMixer(64)
    for part in mixer.scan_weights.directions:
        assert torch.allclose(part.A_log.exp(), torch.arange(1.0, 17).expand(128, 16))
        assert torch.equal(part.D, torch.ones(128))
        step = torch.nn.functional.softplus(part.dt_proj.bias)
        assert step.min() >= 1e-3 * 0.99
        assert step.max() <= 1e-1 * 1.01
        assert step.log().std() > 1
        assert part.dt_proj.weight.abs().max() <= 4**-0.5


@settings(max_examples=20, deadline=None)
@given(
    needs=st.frozensets(st.sampled_from(sorted(TRACED))),
    kernel=st.sampled_from(["auto", "reference"]),
)
def test_asking_for_more_changes_no_bit(needs: frozenset[str], kernel: str) -> None:
    mixer = new_mixer()
    mixer.kernel = kernel
    u = torch.randn(3, 9, 24)
    with torch.no_grad():
        expected, nothing = mixer(u)
        out, trace = mixer(u, needs)
        _, everything = mixer(u, TRACED)
    assert torch.equal(out, expected)
    for name in TRACED:
        assert getattr(nothing, name) is None
        assert (getattr(trace, name) is not None) == (name in needs)
        if name in needs:
            assert torch.equal(getattr(trace, name), getattr(everything, name))


@settings(max_examples=30, deadline=None)
@given(batch=st.integers(1, 33), length=st.integers(1, 40), dim=st.sampled_from([24, 64]))
def test_an_image_does_not_depend_on_its_batch_or_on_threads(
    batch: int, length: int, dim: int
) -> None:
    mixer = new_mixer(dim)
    u = torch.randn(33, length, dim)
    threads = torch.get_num_threads()
    with torch.no_grad():
        whole, trace = mixer(u, TRACED)
        try:
            torch.set_num_threads(1 if batch % 2 else 2)
            some, some_trace = mixer(u[:batch], TRACED)
            alone, _ = mixer(u[batch - 1 : batch])
        finally:
            torch.set_num_threads(threads)
    assert torch.equal(some, whole[:batch])
    assert torch.equal(alone, whole[batch - 1 : batch])
    for name in ("delta_mean", "delta", "B", "C"):
        assert torch.equal(getattr(some_trace, name), getattr(trace, name)[:, :batch]), name
    for name in OUTPUTS:
        assert torch.equal(getattr(some_trace, name), getattr(trace, name)[:batch]), name


def test_fused_and_plain_paths_agree() -> None:
    mixer = BidirectionalMixer(96, d_state=8)
    u = torch.randn(2, 40, 96)
    with torch.no_grad():
        fused, _ = mixer(u)
        mixer.kernel = "reference"
        plain, _ = mixer(u)
    torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-6)


def test_training_on_the_cpu_kernel_gives_the_gradients_of_the_reference() -> None:
    mixer = new_mixer()
    u = torch.randn(2, 13, 24)
    result = {}
    for kernel in ("cpu", "reference"):
        mixer.kernel = kernel
        out, _ = mixer(u)
        gradients = torch.autograd.grad(out.square().sum(), list(mixer.parameters()))
        result[kernel] = dict(zip(dict(mixer.named_parameters()), gradients, strict=True))
    for name, expected in result["reference"].items():
        assert float((result["cpu"][name] - expected).abs().max()) <= 1e-4 * float(
            expected.abs().max()
        ), name


def test_bf16_weights_run_with_an_fp32_scan() -> None:
    mixer = new_mixer().bfloat16()
    u = torch.randn(2, 9, 24).bfloat16()
    with torch.no_grad():
        out, trace = mixer(u, frozenset({"delta_mean", "A"}))
        expected, _ = mixer.float()(u.float())
    assert out.dtype == torch.bfloat16
    assert trace.delta_mean.dtype == trace.A.dtype == torch.float32
    assert float((out.float() - expected).abs().max()) < 0.05 * float(expected.abs().max())


def test_a_scan_begins_with_steps_and_decays_of_mamba() -> None:
    with torch.random.fork_rng(devices=[]):
        dt_proj, A_log, D = initial_scan(32, 4, 16)
    step = torch.nn.functional.softplus(dt_proj.bias.detach())
    assert 0.999e-3 <= float(step.min()) < float(step.max()) <= 0.1001
    assert float(dt_proj.weight.detach().abs().max()) <= 0.5
    assert torch.equal(A_log, torch.log(torch.arange(1.0, 17.0)).expand(32, 16))
    assert torch.equal(D, torch.ones(32))


def test_shapes_alone_are_had_without_the_compiler() -> None:
    """Commands that only count, such as `list backbones`, wait for no arithmetic."""
    code = """
import sys, torch
from backbones.layers.mixer import BidirectionalMixer
real = BidirectionalMixer(24)
with torch.device("meta"):
    hollow = BidirectionalMixer(24)
described = [
    {name: (p.shape, p.dtype) for name, p in mixer.named_parameters()} for mixer in (real, hollow)
]
assert described[0] == described[1]
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_need_it_cannot_meet_is_named() -> None:
    with pytest.raises(UserError, match="has no cls_attention, keys"):
        new_mixer()(torch.randn(1, 3, 24), frozenset({"delta", "keys", "cls_attention"}))

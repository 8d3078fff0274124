"""The CUDA kernels on a real device, against the reference in fp64 on the CPU."""

from typing import Any

import pytest
import torch
from torch import Tensor

from backbones import create_model
from backbones.scan import ScanInputs, chosen, selective_scan
from suite.bench.cuda_graphs import captured

pytestmark = pytest.mark.gpu

BOTH = (False, True)


@pytest.fixture(autouse=True)
def _exact_products() -> None:
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False


def inputs(length: int, dtype: torch.dtype, carry: bool) -> ScanInputs:
    generator = torch.Generator().manual_seed(length)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).double()

    tokens, width, states = (2, 3, length), 48, 16
    return ScanInputs(
        u=normal(*tokens, width),
        delta=normal(*tokens, width) - 3,
        A=-torch.arange(1.0, states + 1, dtype=torch.float64).repeat(2, width, 1),
        B=normal(*tokens, states),
        C=normal(*tokens, states),
        D=normal(2, width),
        z=normal(3, length, width),
        delta_bias=normal(2, width),
        carry=normal(*tokens, width).abs() if carry else None,
    )


def scan(given: ScanInputs, kernel: str) -> tuple[Tensor, Tensor]:
    plain: Any
    *plain, carry = given
    result = selective_scan(*plain, reverse=BOTH, carry=carry, kernel=kernel)
    return result.y, result.delta_mean


def on_cuda(given: ScanInputs, dtype: torch.dtype) -> ScanInputs:
    moved = given.map(lambda tensor: tensor.cuda().float())
    return moved._replace(
        **{name: getattr(moved, name).to(dtype) for name in ("u", "delta", "B", "C", "z")}
    )


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found.cpu().double() - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("carry", [False, True])
@pytest.mark.parametrize("length", [1, 2, 7, 64, 197, 513])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-4), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("kernel", ["mamba_ssm", "triton"])
def test_agrees_with_the_reference(
    kernel: str, dtype: torch.dtype, bound: float, length: int, carry: bool
) -> None:
    given = inputs(length, dtype, carry)
    expected, mean = scan(given, "reference")
    found, found_mean = scan(on_cuda(given, dtype), kernel)
    assert relative(found, expected) < bound
    assert relative(found_mean, mean) < bound


@pytest.mark.parametrize("kernel", ["mamba_ssm", "triton"])
def test_gradients_agree_with_autograd_in_fp64(kernel: str) -> None:
    given = inputs(65, torch.float32, carry=False)

    def gradients(leaves: ScanInputs, kernel: str) -> list[Tensor]:
        leaves = leaves.map(lambda tensor: tensor.detach().requires_grad_())
        expected = [leaf for leaf in leaves if leaf is not None]
        return list(torch.autograd.grad(scan(leaves, kernel)[0].square().sum(), expected))

    pairs = zip(
        gradients(on_cuda(given, torch.float32), kernel), gradients(given, "reference"), strict=True
    )
    assert max(relative(found, expected) for found, expected in pairs) < 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_triton_passes_its_self_check(dtype: torch.dtype) -> None:
    assert chosen("triton", "cuda", dtype).kernel == "triton"


def test_triton_serves_a_graph_and_gives_the_same_bits() -> None:
    given = on_cuda(inputs(197, torch.bfloat16, carry=False), torch.bfloat16)
    replay = captured(lambda inputs: scan(inputs, "triton")[0], given)
    expected = scan(given, "triton")[0].clone()
    for _ in range(3):
        assert torch.equal(replay(), expected)


def test_auto_picks_triton_the_fastest() -> None:
    assert chosen("auto", "cuda", torch.float32).kernel == "triton"


@pytest.mark.parametrize("kernel", ["reference", "mamba_ssm", "triton"])
def test_the_model_gives_the_logits_of_the_cpu(kernel: str) -> None:
    images = torch.randn(4, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    model = create_model("vim_nano", checkpoint="bundled", kernel=kernel)
    with torch.inference_mode():
        found = model.cuda()(images.cuda())
        expected = create_model("vim_nano", checkpoint="bundled", kernel="reference").double()(
            images.double()
        )
    assert relative(found, expected) < 1e-4


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-4), (torch.bfloat16, 5e-2)])
def test_the_fused_model_in_a_graph_gives_the_logits_of_the_cpu(
    dtype: torch.dtype, bound: float
) -> None:
    images = torch.randn(4, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    model = create_model("vim_nano", checkpoint="bundled", kernel="triton").cuda().cast(dtype)
    given = torch.zeros(4, 3, 56, 56, device="cuda")
    with torch.inference_mode():
        replay = captured(model, given)
        given.copy_(images)
        found = replay()
        expected = create_model("vim_nano", checkpoint="bundled", kernel="reference").double()(
            images.double()
        )
    assert relative(found, expected) < bound


def test_a_training_step_has_the_gradients_of_the_cpu() -> None:
    images = torch.randn(2, 3, 56, 56, generator=torch.Generator().manual_seed(0))

    def gradients(kernel: str, device: str, dtype: torch.dtype) -> dict[str, Tensor]:
        model = create_model("vim_nano", checkpoint="bundled", kernel=kernel).to(device, dtype)
        loss = model(images.to(device, dtype)).square().mean()
        named = dict(model.named_parameters())
        return dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))

    expected = gradients("reference", "cpu", torch.float64)
    found = gradients("triton", "cuda", torch.float32)
    assert {
        name: relative(found[name], expected[name])
        for name in expected
        if relative(found[name], expected[name]) > 1e-3
    } == {}

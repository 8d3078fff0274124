"""The other passes of a block as Triton programs, and the block made of them."""

from typing import Any

import pytest
import torch
from torch import Tensor

from backbones.common.errors import UserError
from backbones.layers import fused_path
from backbones.layers import mixer as mixer_module
from backbones.layers.mixer import TRACED, BidirectionalMixer
from backbones.layers.plain_path import plain_convolve
from backbones.layers.stacked_weights import StackCache, stack
from backbones.scan import Choice, dispatch, triton_norm
from backbones.scan.triton_conv import convolve
from backbones.scan.triton_norm import add_norm

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BACKWARDS = 0b10


@pytest.fixture(autouse=True)
def _exact_products() -> None:
    torch.set_float32_matmul_precision("highest")


def both_directions(x: Tensor, taps: Tensor, bias: Tensor) -> Tensor:
    return torch.stack(
        [plain_convolve(x, taps[k].t().unsqueeze(1), bias[k], backwards=k == 1) for k in range(2)]
    )


@pytest.mark.parametrize(
    ("batch", "length", "width"),
    [
        (2, 5, 6),
        pytest.param(1, 40, 70, marks=pytest.mark.slow),
        pytest.param(2, 1, 3, marks=pytest.mark.slow),
    ],
)
def test_convolution_and_its_gradients_agree_with_torch(
    batch: int, length: int, width: int
) -> None:
    generator = torch.Generator().manual_seed(length)
    given = [
        torch.randn(*shape, generator=generator)
        for shape in ((batch, length, 2 * width), (2, 4, width), (2, width))
    ]
    leaves = [part.to(DEVICE).requires_grad_() for part in given]
    exact = [part.double().requires_grad_() for part in given]
    result = convolve(leaves[0][..., width:], *leaves[1:], BACKWARDS)
    expected = both_directions(exact[0][..., width:], *exact[1:])
    torch.testing.assert_close(result.cpu().double(), expected, rtol=1e-5, atol=1e-5)
    weights = torch.randn(expected.shape, generator=generator)
    pairs = zip(
        torch.autograd.grad(result, leaves, weights.to(DEVICE)),
        torch.autograd.grad(expected, exact, weights.double()),
        strict=True,
    )
    for one, other in pairs:
        torch.testing.assert_close(one.cpu().double(), other, rtol=1e-4, atol=1e-5)


def test_addition_and_norm() -> None:
    generator = torch.Generator().manual_seed(0)
    branch, residual, weight = (
        torch.randn(*shape, generator=generator) for shape in ((3, 3, 40), (3, 3, 40), (40,))
    )
    added, normed = add_norm(
        branch.bfloat16().to(DEVICE), residual.to(DEVICE), weight.to(DEVICE), 1e-3
    )
    total = residual + branch.bfloat16().float()
    expected = (
        total.double() / (total.double().square().mean(dim=-1, keepdim=True) + 1e-3).sqrt() * weight
    )
    assert torch.equal(added.cpu(), total)
    torch.testing.assert_close(normed.cpu().double(), expected, rtol=1e-5, atol=1e-5)


def test_gradients_of_addition_and_norm() -> None:
    generator = torch.Generator().manual_seed(0)
    given = [torch.randn(*shape, generator=generator) for shape in ((3, 3, 40), (3, 3, 40), (40,))]
    weights = [torch.randn(3, 3, 40, generator=generator) for _ in range(2)]
    leaves = [part.to(DEVICE).requires_grad_() for part in given]
    exact = [part.double().requires_grad_() for part in given]
    total = exact[0] + exact[1]
    expected = (total, total / (total.square().mean(dim=-1, keepdim=True) + 1e-3).sqrt() * exact[2])
    result = add_norm(*leaves, 1e-3)  # type: ignore[call-arg, arg-type]
    pairs = zip(
        torch.autograd.grad(result, leaves, [weight.to(DEVICE) for weight in weights]),
        torch.autograd.grad(expected, exact, [weight.double() for weight in weights]),
        strict=True,
    )
    for one, other in pairs:
        torch.testing.assert_close(one.cpu().double(), other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("divide", "needs"),
    [
        (False, frozenset({"delta_mean"})),
        (True, TRACED),
        pytest.param(False, TRACED, marks=pytest.mark.slow),
        pytest.param(True, frozenset({"delta_mean"}), marks=pytest.mark.slow),
    ],
)
def test_the_mixer_made_of_them(
    monkeypatch: pytest.MonkeyPatch, divide: bool, needs: frozenset[str]
) -> None:
    torch.manual_seed(0)
    mixer = BidirectionalMixer(12, d_state=4, dt_rank=3, divide=divide).to(DEVICE)
    mixer.kernel = "reference"
    u, carry = torch.randn(2, 6, 12, device=DEVICE), torch.rand(2, 2, 6, 24, device=DEVICE)
    monkeypatch.setattr(fused_path, "_on_cpu", fused_path._on_gpu)
    with torch.no_grad():
        expected, wanted_trace = mixer(u, needs, carry)
        result, trace = fused_path.mix(mixer.scan_weights, u, needs, carry, StackCache())
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)
    for name in needs:
        torch.testing.assert_close(
            getattr(trace, name), getattr(wanted_trace, name), rtol=1e-4, atol=1e-5
        )


def test_training_goes_through_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixer_module, "running", lambda kernel, device, dtype: kernel)
    torch.manual_seed(0)
    mixer = BidirectionalMixer(8, d_state=2, dt_rank=3).to(DEVICE)
    u = torch.randn(2, 5, 8, device=DEVICE)

    def gradients(kernel: str) -> list[Tensor]:
        mixer.kernel = kernel
        inputs = mixer.scan_inputs(u, None)
        loss = sum(
            ((part * torch.cos(part.detach())).sum() for part in inputs if part is not None),
            torch.zeros(()),
        )
        parts = [
            parameter for name, parameter in mixer.named_parameters() if "out_proj" not in name
        ]
        return list(torch.autograd.grad(loss, parts))

    for one, other in zip(gradients("triton"), gradients("reference"), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_training_under_autocast_gives_the_scan_the_kinds_of_a_bf16_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mixer_module, "chosen", lambda kernel, device, dtype: Choice("triton", ""))
    torch.manual_seed(0)
    mixer = BidirectionalMixer(16, d_state=2, dt_rank=3).to(DEVICE)
    u = torch.randn(2, 5, 16, device=DEVICE)
    rounded = BidirectionalMixer(16, d_state=2, dt_rank=3).to(DEVICE)
    for name, parameter in rounded.named_parameters():
        recurrent = name.endswith(
            ("A_log", "A_b_log", "D", "D_b", "dt_proj.bias", "dt_proj_b.bias")
        )
        parameter.data = parameter.data.to(torch.float32 if recurrent else torch.bfloat16)

    def gradients(precise: bool) -> list[Tensor]:
        with torch.autocast(DEVICE, torch.bfloat16, enabled=not precise):
            inputs = mixer.scan_inputs(u, None)
        if not precise:
            expected = rounded.scan_inputs(u.bfloat16(), None)
            kinds = [
                [part.dtype for part in given if part is not None] for given in (inputs, expected)
            ]
            assert kinds[0] == kinds[1]
        loss = sum(
            ((part.float() * 0.1).sin().sum() for part in inputs if part is not None),
            torch.zeros(()),
        )
        parts = [
            parameter for name, parameter in mixer.named_parameters() if "out_proj" not in name
        ]
        return list(torch.autograd.grad(loss, parts))

    for one, other in zip(gradients(False), gradients(True), strict=True):
        assert float((one - other).norm() / other.norm()) < 3e-2


@pytest.mark.slow
def test_training_is_checked_before_it_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (mixer_module, dispatch):
        monkeypatch.setattr(module, "chosen", lambda kernel, device, dtype: Choice(kernel, ""))
    monkeypatch.setattr(dispatch, "prove_gradients", lambda *given: None)
    monkeypatch.setattr(
        fused_path,
        "add_norm",
        lambda branch, residual, norm: add_norm(branch, residual, norm.weight, norm.eps),
    )
    assert fused_path.check_gradients.__wrapped__(DEVICE, torch.float32)
    right = triton_norm._backward
    monkeypatch.setattr(
        triton_norm, "_backward", lambda *given: tuple(1.01 * part for part in right(*given))
    )
    with pytest.raises(UserError, match="fused kernels of 'triton' are wrong"):
        fused_path.check_gradients.__wrapped__(DEVICE, torch.float32)


def test_parameters_are_stacked_once_and_again_when_they_change() -> None:
    mixer = BidirectionalMixer(8, d_state=2)
    with torch.no_grad():
        stacks = StackCache()
        first = stacks.get(mixer.scan_weights)
        assert stacks.get(mixer.scan_weights) is first
        mixer.D_b.add_(1)
        second = stacks.get(mixer.scan_weights)
        assert torch.equal(second.D[1], first.D[1] + 1)
        mixer.A_log.data = mixer.A_log.data + 1
        third = stacks.get(mixer.scan_weights)
        torch.testing.assert_close(third.A[0], torch.e * second.A[0])
        mixer.load_state_dict(
            {name: torch.zeros_like(part) for name, part in mixer.state_dict().items()}
        )
        assert not stacks.get(mixer.scan_weights).taps.any()
        assert stacks.get(mixer.double().scan_weights).expand.dtype == torch.float64


def test_spare_columns_leave_the_projection_as_it_is() -> None:
    mixer: Any = BidirectionalMixer(8, d_state=2, dt_rank=3)
    own = stack(mixer.scan_weights)
    rows = torch.randn(2, 4, 16)
    projected = rows @ own.project
    assert projected.shape[-1] == 8 + 2 * 2
    expected = rows[1] @ mixer.x_proj_b.weight.t()
    torch.testing.assert_close(projected[1, :, 8:], expected[:, 3:])
    torch.testing.assert_close(
        projected[1, :, :8] @ own.expand[1], expected[:, :3] @ mixer.dt_proj_b.weight.t()
    )

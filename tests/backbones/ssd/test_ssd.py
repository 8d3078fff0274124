"""The scan of Mamba-2: every kernel gives the equations' numbers and gradients."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from backbones.common.errors import UserError
from backbones.ssd import HeadInputs, chosen, dispatch, ssd
from backbones.ssd.chunked import LONGEST, chunk_length
from backbones.ssd.cpu import timescales

LENGTHS = (1, 2, LONGEST, LONGEST + 1, 2 * LONGEST + 7)


def drawn(
    length: int,
    batch: int = 2,
    heads: int = 3,
    width: int = 12,
    states: int = 5,
    dtype: torch.dtype = torch.float64,
    carry: bool = True,
) -> HeadInputs:
    generator = torch.Generator().manual_seed(length)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    # strided slices, as the convolution of a mixer gives them
    convolved = normal(batch, length, width + 2 * states)
    return HeadInputs(
        u=convolved[..., :width],
        delta=normal(batch, length, heads),
        A=-torch.exp(normal(heads)),
        B=convolved[..., width : width + states],
        C=convolved[..., width + states :],
        D=normal(heads),
        delta_bias=normal(heads) - 1,
        carry=normal(batch, length, heads).abs() if carry else None,
    )


def by_hand(inputs: HeadInputs) -> Tensor:
    """All earlier tokens summed for each token: no state, no recurrence."""
    u, delta, A, B, C, D, bias, carry = (part if part is None else part.double() for part in inputs)
    step = torch.log1p(torch.exp(delta + bias))
    decay = (step if carry is None else step + carry) * A
    y = torch.zeros_like(u)
    width = u.shape[2] // len(A)
    for b in range(len(u)):
        for t in range(u.shape[1]):
            for h in range(len(A)):
                at = slice(h * width, (h + 1) * width)
                y[b, t, at] = D[h] * u[b, t, at]
                for s in range(t + 1):
                    passed = torch.exp(decay[b, s + 1 : t + 1, h].sum())
                    weight = (C[b, t] @ B[b, s]) * passed * step[b, s, h]
                    y[b, t, at] += weight * u[b, s, at]
    return y


@pytest.mark.parametrize("carry", [True, False])
@pytest.mark.parametrize(
    ("kernel", "dtype", "error"),
    [
        ("reference", torch.float64, 1e-12),
        ("chunked", torch.float64, 1e-12),
        ("chunked", torch.float32, 1e-5),
        ("cpu", torch.float32, 1e-5),
    ],
)
def test_outputs_are_those_of_the_equations(
    kernel: str, dtype: torch.dtype, error: float, carry: bool
) -> None:
    inputs = drawn(9, dtype=dtype, carry=carry)
    with torch.no_grad():
        y = ssd(inputs, kernel)
    expected = by_hand(inputs)
    assert y.dtype == dtype
    assert (y.double() - expected).abs().max() < error * expected.abs().max()


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize(
    ("kernel", "dtype", "error"),
    [
        ("chunked", torch.float64, 1e-12),
        ("cpu", torch.float32, 1e-5),
    ],
)
def test_any_number_of_tokens(kernel: str, dtype: torch.dtype, error: float, length: int) -> None:
    inputs = drawn(length, batch=3, dtype=dtype)
    with torch.no_grad():
        y, expected = ssd(inputs, kernel), ssd(inputs.wide(), "reference")
    assert (y - expected).abs().max() < error * expected.abs().max()


@pytest.mark.parametrize("length", LENGTHS)
def test_gradients_are_those_of_the_recurrence(length: int) -> None:
    found = []
    for kernel in ("chunked", "reference"):
        leaves = drawn(length).map(lambda part: part.detach().requires_grad_())
        ssd(leaves, kernel).square().sum().backward()
        found.append([leaf.grad for leaf in leaves if leaf is not None])
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)


def test_gradients_are_those_of_finite_differences() -> None:
    inputs = drawn(LONGEST + 1, batch=1, heads=2, width=2, states=1)
    leaves = [part.detach().requires_grad_() for part in inputs if part is not None]
    assert torch.autograd.gradcheck(
        lambda *parts: ssd(HeadInputs(*parts), "chunked"), leaves, fast_mode=True
    )


def test_chunks_are_even() -> None:
    assert [chunk_length(length) for length in (1, 48, 49, 197, 198)] == [1, 48, 25, 40, 40]
    for length in range(1, 300):
        chunk = chunk_length(length)
        assert chunk <= LONGEST
        assert -(-length // chunk) == -(-length // LONGEST)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_on_a_cpu_an_image_does_not_depend_on_its_batch_or_the_threads(count: int) -> None:
    threads = torch.get_num_threads()
    try:
        for length in (5, LONGEST + 1):
            inputs = drawn(length, batch=7, heads=6, width=96, states=16, dtype=torch.float32)
            with torch.no_grad():
                torch.set_num_threads(1)
                whole = ssd(inputs, "cpu")
                torch.set_num_threads(2)
                fewer = HeadInputs(*(part if part.ndim == 1 else part[:count] for part in inputs))
                assert torch.equal(ssd(fewer, "cpu"), whole[:count])
    finally:
        torch.set_num_threads(threads)


def test_timescales_of_the_compiled_pass() -> None:
    inputs = drawn(11, dtype=torch.float32)
    step, mean = timescales(inputs.delta, inputs.delta_bias)
    torch.testing.assert_close(step, inputs.step())
    torch.testing.assert_close(mean, inputs.step().mean(-1))


def test_far_decays_do_not_overflow() -> None:
    inputs = drawn(LONGEST + 3, dtype=torch.float32)._replace(A=torch.full((3,), -1e4))
    with torch.no_grad():
        for kernel in ("chunked", "cpu"):
            y, expected = ssd(inputs, kernel), ssd(inputs.wide(), "reference")
            torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)


@pytest.fixture
def fresh() -> Iterator[None]:
    """A process that has checked no kernel yet, before and after."""
    for cached in (dispatch._chosen, dispatch.prove_gradients):
        cached.cache_clear()
    yield
    for cached in (dispatch._chosen, dispatch.prove_gradients):
        cached.cache_clear()


def test_auto_says_what_it_took_and_why(monkeypatch: pytest.MonkeyPatch, fresh: None) -> None:
    assert chosen("auto", "cpu", torch.float32) == ("cpu", "fastest for float32 on cpu")
    kernel, reason = chosen("auto", "cpu", torch.float64)
    assert kernel == "chunked"
    assert "computes in float32, not float64" in reason
    assert chosen("reference", "cpu", torch.float64).reason == "asked for"


@pytest.mark.parametrize(
    ("kernel", "device", "dtype", "message"),
    [
        ("chunk", "cpu", torch.float32, "no scan kernel 'chunk' .*did you mean chunked"),
        ("triton", "cuda", torch.float32, "Mamba-2 has no scan kernel 'triton'"),
        ("cpu", "cuda", torch.float32, "cannot run on cuda"),
        ("cpu", "cpu", torch.float64, "computes in float32, not float64"),
        ("mamba_ssm", "cpu", torch.float32, "needs a CUDA device, not cpu"),
        ("mamba_ssm", "cuda", torch.float64, "cannot compute in float64"),
        ("mamba_ssm", "cuda", torch.float32, "rounds products of fp32 to TF32"),
    ],
)
def test_a_kernel_that_cannot_serve_is_an_error(
    kernel: str, device: str, dtype: torch.dtype, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        chosen(kernel, device, dtype)


@pytest.mark.parametrize("part", ["outputs", "gradients"])
def test_a_wrong_kernel_is_caught(monkeypatch: pytest.MonkeyPatch, fresh: None, part: str) -> None:
    own = dispatch.FUNCTIONS["chunked"]

    def wrong(inputs: HeadInputs) -> Tensor:
        if part == "outputs":
            return own(inputs) * 1.01
        return own(inputs._replace(B=inputs.B.detach()))

    monkeypatch.setitem(dispatch.FUNCTIONS, "chunked", wrong)
    inputs = drawn(5).map(lambda tensor: tensor.detach().requires_grad_())
    with pytest.raises(UserError, match="scan kernel 'chunked' is wrong on this machine"):
        ssd(inputs, "chunked")


@pytest.mark.parametrize("name", ["delta", "B", "C", "D", "delta_bias", "carry"])
def test_a_wrong_shape_is_named(name: str) -> None:
    inputs: Any = drawn(4)
    bad = inputs._replace(**{name: getattr(inputs, name)[..., :-1]})
    with pytest.raises(ValueError, match=f"ssd: {'C' if name == 'B' else name} must be"):
        ssd(bad, "reference")

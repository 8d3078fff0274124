"""The self-check of kernels of a scan with heads: each must agree with `reference` here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from backbones.scan.check import TOLERANCE, as_written, compare
from backbones.scan.contract import autograd_gradients
from backbones.ssd.contract import HeadInputs
from backbones.ssd.reference import reference_ssd

Ssd = Callable[[HeadInputs], Tensor]
EXACT = 1e-9  # of the largest value, in fp64


def check_forward(name: str, function: Ssd, device: torch.device, dtype: torch.dtype) -> None:
    """UserError unless `function` gives the outputs of the reference on every case."""
    with torch.no_grad(), as_written(device):
        for case, inputs in _cases(device, dtype):
            ours, expected = function(inputs), reference_ssd(inputs.wide())
            compare(name, f"y of '{case}'", ours, expected, TOLERANCE.get(dtype, EXACT))


def check_gradients(name: str, function: Ssd, device: torch.device, dtype: torch.dtype) -> None:
    """UserError unless the gradients of `function` are those of the reference."""
    tolerance = 3 * TOLERANCE.get(dtype, EXACT)
    with as_written(device):
        for case, inputs in _cases(device, dtype):
            gradients = _gradients(function, inputs)
            expected = _gradients(reference_ssd, inputs.wide())
            for field, ours, theirs in zip(inputs._fields, gradients, expected, strict=True):
                if ours is not None and theirs is not None:
                    what = f"gradient of {field} of '{case}'"
                    compare(name, what, ours, theirs, tolerance, least=1e-3)


def _gradients(function: Ssd, inputs: HeadInputs) -> list[Tensor | None]:
    def loss(leaves: HeadInputs) -> list[Tensor]:
        y = function(leaves)
        # a weight of its own for every output, so that no error cancels another
        weights = torch.linspace(-1, 1, y.numel(), device=y.device)
        return [(y.float() * weights.view(y.shape)).sum()]

    return autograd_gradients(loss, inputs)


def _cases(device: torch.device, dtype: torch.dtype) -> Iterator[tuple[str, HeadInputs]]:
    """Named inputs: several chunks, extreme timescales, one token."""
    # lengths that no chunk divides
    yield "random", _inputs(device, dtype, 141, 1.0, -1.0)
    yield "large timescale", _inputs(device, dtype, 19, 1.0, 30.0)
    yield "tiny timescale", _inputs(device, dtype, 67, 1.0, -14.0)
    yield "one token", _inputs(device, dtype, 1, 0.0, 1.0)._replace(carry=None)


def _inputs(
    device: torch.device, dtype: torch.dtype, length: int, spread: float, shift: float
) -> HeadInputs:
    """Random inputs whose raw timescale is `spread` * N(0, 1) + `shift`."""
    generator = torch.Generator().manual_seed(length)
    batch, heads, width, states = 2, 3, 48, 16

    def normal(*shape: int, kind: torch.dtype = dtype) -> Tensor:
        return torch.randn(*shape, generator=generator, device="cpu").to(device, kind)

    parameter = torch.promote_types(dtype, torch.float32)
    # u, B and C are strided slices, as the convolution of a mixer gives them
    convolved = normal(batch, length, width + 2 * states)
    return HeadInputs(
        u=convolved[..., :width],
        delta=normal(batch, length, heads) * spread + shift,
        A=-torch.exp(normal(heads, kind=parameter)),
        B=convolved[..., width : width + states],
        C=convolved[..., width + states :],
        D=normal(heads, kind=parameter),
        delta_bias=normal(heads, kind=parameter),
        carry=normal(batch, length, heads, kind=parameter).clamp(min=0),
    )

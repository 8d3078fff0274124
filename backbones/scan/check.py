"""The self-check of kernels: each must agree with `reference` on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from backbones.common.errors import UserError
from backbones.scan.contract import (
    Scan,
    ScanInputs,
    ScanResult,
    autograd_gradients,
    state_dtype,
)
from backbones.scan.reference import reference_scan

# which directions run backwards, by their number: of Vim's scans, and of VMamba's
REVERSE = {2: (False, True), 4: (False, False, True, True)}
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 1e-2}  # of the largest value


def check_forward(name: str, scan: Scan, device: torch.device, dtype: torch.dtype) -> None:
    """UserError unless `scan` gives the outputs of the reference on every case."""
    with torch.no_grad(), as_written(device):
        for case, inputs in _cases(device, dtype):
            reverse = REVERSE[len(inputs.u)]
            for separate in (False, True):
                result = scan(inputs, reverse, separate)
                expected = reference_scan(_wide(inputs), reverse, separate)
                for field in ScanResult._fields:
                    what = f"{field} of '{case}'"
                    ours, theirs = getattr(result, field), getattr(expected, field)
                    compare(name, what, ours, theirs, TOLERANCE[dtype])


def check_gradients(name: str, scan: Scan, device: torch.device, dtype: torch.dtype) -> None:
    """UserError unless the gradients of `scan` are those of the reference."""
    tolerance = 3 * TOLERANCE[dtype]
    with as_written(device):
        for case, inputs in _cases(device, dtype):
            gradients = _gradients(scan, inputs)
            expected = _gradients(reference_scan, _wide(inputs))
            for field, ours, theirs in zip(inputs._fields, gradients, expected, strict=True):
                if ours is None or theirs is None:
                    continue
                # Some gradients are exactly zero (A's of one token), where a kernel's rounding is
                # no error: hence the least scale.
                what = f"gradient of {field} of '{case}'"
                compare(name, what, ours, theirs, tolerance, least=1e-3)


@contextmanager
def as_written(device: torch.device | str) -> Iterator[None]:
    """Compute in the types of the tensors, even if a training has enabled autocast or TF32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(torch.device(device).type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def _cases(device: torch.device, dtype: torch.dtype) -> Iterator[tuple[str, ScanInputs]]:
    """Named inputs: ordinary ones, extreme timescales, one token or state, no optional tensors."""
    # lengths that no block of tokens divides
    yield "random", _inputs(device, dtype, 37, 0.0, -1.0)
    yield "large timescale", _inputs(device, dtype, 19, 1.0, 30.0)
    yield "tiny timescale", _inputs(device, dtype, 19, 1.0, -14.0)
    yield "one token", _inputs(device, dtype, 1, 0.0, 1.0)._replace(carry=None)
    bare = _inputs(device, dtype, 8, 0.0, 1.0)
    yield "bare", bare._replace(D=None, z=None, delta_bias=None, carry=None)
    narrow = _inputs(device, dtype, 23, 1.0, 0.0, directions=4, states=1)
    yield "one state", narrow._replace(z=None, carry=None)


def _inputs(
    device: torch.device,
    dtype: torch.dtype,
    length: int,
    spread: float,
    shift: float,
    directions: int = 2,
    states: int = 4,
) -> ScanInputs:
    """Random inputs whose raw timescale is `spread` * N(0, 1) + `shift`."""
    generator = torch.Generator().manual_seed(length)
    batch, width = 2, 24

    def normal(*shape: int, kind: torch.dtype = dtype) -> Tensor:
        return torch.randn(*shape, generator=generator, device="cpu").to(device, kind)

    tokens = (directions, batch, length)
    # B, C and z are strided slices, as the projections of a mixer give them
    projected = normal(*tokens, 2 * states)
    return ScanInputs(
        u=normal(*tokens, width),
        delta=normal(*tokens, width) * spread + shift,
        A=-torch.exp(3 * normal(directions, width, states, kind=torch.float32)),
        B=projected[..., :states],
        C=projected[..., states:],
        D=normal(directions, width, kind=torch.float32),
        z=normal(batch, length, 2 * width)[..., width:],
        delta_bias=normal(directions, width, kind=torch.float32),
        carry=normal(*tokens, width, kind=torch.float32).clamp(min=0),
    )


def _wide(inputs: ScanInputs) -> ScanInputs:
    return inputs.map(lambda tensor: tensor.to(state_dtype(tensor.dtype)))


def _gradients(scan: Scan, inputs: ScanInputs) -> list[Tensor | None]:
    def loss(leaves: ScanInputs) -> list[Tensor]:
        y, delta_mean = scan(leaves, REVERSE[len(leaves.u)], False)
        # a weight of its own for every output, so that no error cancels another
        weights = torch.linspace(-1, 1, y.numel(), device=y.device)
        of_y = (y.float() * weights.view(y.shape)).sum()
        of_mean = delta_mean.float().square().sum()
        return [of_y + of_mean]

    return autograd_gradients(loss, inputs)


def compare(
    kernel: str,
    what: str,
    ours: Tensor,
    theirs: Tensor,
    tolerance: float,
    least: float = 1e-30,
) -> None:
    """UserError unless `what` is within `tolerance` of the largest expected value."""
    theirs = theirs.double()
    largest = theirs.abs().max().clamp(min=least)
    difference = (ours.double() - theirs).abs().max()
    error = (difference / largest).item()
    # written so that NaN fails the comparison
    if not error <= tolerance:
        raise UserError(
            f"scan kernel '{kernel}' is wrong on this machine ({what} is off by {error:.1e} of the "
            "largest value): use kernel 'reference'"
        )

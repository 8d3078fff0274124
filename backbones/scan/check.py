"""The proof that a kernel agrees with `reference` here and now, before anything is computed by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from backbones.common.errors import UserError
from backbones.scan.contract import ScanInputs, ScanResult, state_dtype
from backbones.scan.reference import reference_scan

Scan = Callable[[ScanInputs, tuple[bool, ...], bool], ScanResult]
REVERSE = (False, True)
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 1e-2}  # of the largest value


def check_forward(name: str, scan: Scan, device: torch.device, dtype: torch.dtype) -> None:
    """UserError unless `scan` gives the outputs of the reference on every case."""
    with torch.no_grad(), as_written(device):
        for case, inputs in _cases(device, dtype):
            for separate in (False, True):
                found, wanted = (
                    scan(inputs, REVERSE, separate),
                    reference_scan(_wide(inputs), REVERSE, separate),
                )
                for part, given, right in zip(ScanResult._fields, found, wanted, strict=True):
                    _compare(name, f"{part} of '{case}'", given, right, TOLERANCE[dtype])


def check_gradients(name: str, scan: Scan, device: torch.device, dtype: torch.dtype) -> None:
    """UserError unless the gradients of `scan` are those of the reference."""
    with as_written(device):
        for case, inputs in _cases(device, dtype):
            found = _gradients(scan, inputs)
            for field, given, right in zip(
                ScanInputs._fields, found, _gradients(reference_scan, _wide(inputs)), strict=True
            ):
                if given is not None and right is not None:
                    # some are exactly zero (A's of one token), where a kernel's own rounding is no
                    # error
                    _compare(
                        name,
                        f"gradient of {field} of '{case}'",
                        given,
                        right,
                        3 * TOLERANCE[dtype],
                        least=1e-3,
                    )


@contextmanager
def as_written(device: torch.device | str) -> Iterator[None]:
    """Arithmetic in the types of the tensors, even when a training has asked for autocast or TF32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(torch.device(device).type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def _cases(device: torch.device, dtype: torch.dtype) -> Iterator[tuple[str, ScanInputs]]:
    """Named inputs: ordinary ones, timescales that saturate or vanish, one token, strided slices, nothing optional."""
    yield "random", _inputs(device, dtype, 37, 0.0, -1.0)
    yield "large timescale", _inputs(device, dtype, 19, 1.0, 30.0)
    yield "tiny timescale", _inputs(device, dtype, 19, 1.0, -14.0)
    yield "one token", _inputs(device, dtype, 1, 0.0, 1.0)._replace(carry=None)
    yield (
        "bare",
        _inputs(device, dtype, 8, 0.0, 1.0)._replace(D=None, z=None, delta_bias=None, carry=None),
    )


def _inputs(
    device: torch.device, dtype: torch.dtype, length: int, spread: float, shift: float
) -> ScanInputs:
    generator = torch.Generator().manual_seed(length)
    directions, batch, width, states = len(REVERSE), 2, 24, 4

    def normal(*shape: int, kind: torch.dtype = dtype) -> Tensor:
        return torch.randn(*shape, generator=generator, device="cpu").to(device, kind)

    tokens = (directions, batch, length)
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
    with torch.enable_grad():
        leaves = inputs.map(lambda tensor: tensor.detach().requires_grad_())
        y, delta_mean = scan(leaves, REVERSE, False)
        weights = torch.linspace(-1, 1, y.numel(), device=y.device).view(y.shape)
        loss = (y.float() * weights).sum() + delta_mean.float().square().sum()
    wanted = [leaf for leaf in leaves if leaf is not None]
    found = iter(torch.autograd.grad(loss, wanted))
    return [None if leaf is None else next(found) for leaf in leaves]


def _compare(
    kernel: str, what: str, found: Tensor, wanted: Tensor, tolerance: float, least: float = 1e-30
) -> None:
    wanted = wanted.double()
    largest = wanted.abs().max().clamp(min=least)
    error = ((found.double() - wanted).abs().max() / largest).item()
    if not error <= tolerance:
        raise UserError(
            f"scan kernel '{kernel}' is wrong on this machine ({what} is off by {error:.1e} of the largest value): "
            "use kernel 'reference'"
        )

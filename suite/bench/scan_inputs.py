"""Random inputs of the selective scan, and its output and gradients by each kernel."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from backbones.scan import ScanInputs, selective_scan

Scan = Callable[[ScanInputs], Tensor]
BOTH = (False, True)  # the directions: forward, and from the last token to the first


def random_inputs(
    directions: int,
    batch: int,
    length: int,
    width: int,
    states: int,
    seed: int = 0,
    device: str = "cpu",
) -> ScanInputs:
    """Inputs as a trained Vim feeds its scan: timescales around 0.01 to 0.1, A = -(1..N)."""
    # a scan's error depends on how fast its states decay, so that ranges matter here
    generator = torch.Generator(device).manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=device)

    tokens = (directions, batch, length)
    return ScanInputs(
        u=normal(*tokens, width),
        delta=normal(*tokens, width) - 3,
        A=-torch.arange(1.0, states + 1, device=device).repeat(directions, width, 1),
        B=normal(*tokens, states),
        C=normal(*tokens, states),
        D=normal(directions, width),
        z=normal(batch, length, width),
        delta_bias=normal(directions, width),
    )


def scan(inputs: ScanInputs, kernel: str) -> Tensor:
    """Output (B, L, E) of the selective scan, summed over the directions."""
    reverse = BOTH[: inputs.u.shape[0]]
    # without the mean of the timescales, which only some methods need
    return selective_scan(**inputs._asdict(), reverse=reverse, kernel=kernel, mean=False).y


def results(forward: Scan, inputs: ScanInputs, gradients: bool) -> list[Tensor]:
    """The output of `forward`, and the gradients of its sum by every input if `gradients`."""
    if not gradients:
        with torch.no_grad():
            return [forward(inputs)]
    leaves = inputs.map(lambda tensor: tensor.detach().requires_grad_())
    with torch.enable_grad():
        y = forward(leaves)
    # D, the gate, the bias and the carry are optional
    present = [leaf for leaf in leaves if leaf is not None]
    return [y.detach(), *torch.autograd.grad(y, present, torch.ones_like(y))]


def exact_results(inputs: ScanInputs, gradients: bool) -> list[Tensor]:
    """The same by the reference, a loop over the tokens, in fp64."""
    double = inputs.map(lambda tensor: tensor.double())
    return results(partial(scan, kernel="reference"), double, gradients)


def largest_error(approximate: list[Tensor], exact: list[Tensor]) -> float:
    """Largest error of any tensor, relative to the largest value of that tensor."""
    errors = []
    for result, truth in zip(approximate, exact, strict=True):
        error = (result.double() - truth).abs().max()
        errors.append(error / truth.abs().max())
    return float(torch.stack(errors).max())  # nan if any is, unlike Python's max

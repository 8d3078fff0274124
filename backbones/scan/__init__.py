"""The selective scan: one function, several kernels, one reference.

    selective_scan(u, delta, A, B, C, D, z, delta_bias, reverse=(False, True))
        -> ScanResult(y, delta_mean)

`backbones.layers` scans through it. `chosen(kernel, device, dtype)` says which kernel will run and
why; `dispatch` chooses and checks, `reference` is the definition, `cpu*` and `triton*` are the
kernels, and `stock` calls the authors' packages.
"""

from __future__ import annotations

from torch import Tensor

from backbones.scan.contract import ScanInputs, ScanResult
from backbones.scan.dispatch import KERNELS, Choice, check_kernel, chosen, run

__all__ = [
    "KERNELS",
    "Choice",
    "ScanInputs",
    "ScanResult",
    "check_kernel",
    "chosen",
    "selective_scan",
]


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    *,
    reverse: tuple[bool, ...],
    carry: Tensor | None = None,
    separate: bool = False,
    kernel: str = "auto",
    mean: bool = True,
) -> ScanResult:
    """Selective scan (Mamba, arXiv 2312.00752) of K stacked directions, all in image order.

        Delta = softplus(delta + delta_bias)
        h_t = exp((Delta_t + carry_t) A) h_{t-1} + Delta_t B_t u_t
        y_t = (C_t . h_t + D u_t) silu(z_t)

    with t running backwards where `reverse`.

    Args:
        u: (K, B, L, E) input.
        delta: (K, B, L, E) raw timescale, before bias and softplus.
        A: (K, E, N) state matrix, negative.
        B: (K, B, L, N) input projection; like every input it may be a strided slice.
        C: (K, B, L, N) output projection.
        D: (K, E) skip connection.
        z: (B, L, E) gate, shared by the directions.
        delta_bias: (K, E) bias of the timescale.
        reverse: for each direction, whether it runs from the last token to the first.
        carry: (K, B, L, E) decay handed over by dropped tokens, in units of Delta.
        separate: return each direction's output instead of their sum, whose bits are those of
            y[0] + y[1].
        kernel: one of `KERNELS`; UserError if it does not support these tensors.
        mean: whether delta_mean is read; without, a kernel to which it is extra work leaves it
            empty.

    Returns:
        y (B, L, E), or (K, B, L, E) when `separate`, in u's dtype; delta_mean (K, B, L), in at
        least fp32.

    """
    inputs = ScanInputs(u, delta, A, B, C, D, z, delta_bias, carry)
    inputs.check(reverse)
    return run(inputs, reverse, separate, kernel, mean)

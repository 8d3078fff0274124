"""The scan with heads, one state update per token, with which other kernels are compared.

Differentiable by autograd, on any device, in fp32 and fp64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from backbones.ssd.contract import HeadInputs


def reference_ssd(inputs: HeadInputs) -> Tensor:
    """Output (B, L, E) of the equations in `HeadInputs`."""
    u, _, A, B, C, D, _, carry = wide = inputs.wide()
    step = wide.step()
    # decay handed over by dropped tokens does not scale the input
    factors = torch.exp((step if carry is None else step + carry) * A)
    heads = u.unflatten(2, (inputs.heads, -1))
    driven = heads * step[..., None]
    # the state of each head (B, H, P, N)
    state = u.new_zeros(*driven.shape[:1], *driven.shape[2:], B.shape[2])
    rows: list[Tensor] = []
    for token in range(u.shape[1]):
        drive = driven[:, token, :, :, None] * B[:, token, None, None]
        state = factors[:, token, :, None, None] * state + drive
        rows.append(torch.einsum("bhpn,bn->bhp", state, C[:, token]))
    y = torch.stack(rows, dim=1) + D[:, None] * heads
    return y.flatten(2).to(inputs.u.dtype)

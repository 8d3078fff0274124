"""The `mamba_ssm` kernel: the Triton programs of the package mamba-ssm (version 2)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from backbones.scan.stock import FIX, imported
from backbones.ssd.contract import HeadInputs

CHUNK = 256  # tokens of a chunk, the package's default


@cache
def ssd_function() -> Callable[..., Tensor]:
    """`mamba_chunk_scan_combined`; ImportError if mamba-ssm is missing or too old."""
    function: Callable[..., Tensor] = imported("ops.triton.ssd_combined").mamba_chunk_scan_combined
    return function


@cache
def obstacle() -> str:
    """Why the package cannot be used, in one line with a fix; empty if it can."""
    try:
        ssd_function()
    except (ImportError, OSError, AttributeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        return f"scan kernel 'mamba_ssm' cannot be imported ({reason}): {FIX}"
    return ""


def stock_ssd(inputs: HeadInputs) -> Tensor:
    """Output (B, L, E) of the equations in `HeadInputs`; differentiable."""
    u, delta, A, B, C, D, bias, carry = inputs
    heads = u.unflatten(2, (inputs.heads, -1))
    settings = {"chunk_size": CHUNK, "D": D.float(), "dt_bias": bias.float(), "dt_softplus": True}
    if carry is not None:
        # The package has no such input: step Delta' = Delta + g over u' = u (Delta / Delta') is the
        # same recurrence; the skip connection stays outside.
        step = inputs.step()
        delta = step + carry.float()
        ratio = torch.where(delta > 0, step / delta, torch.ones_like(step))
        heads = (heads.float() * ratio[..., None]).to(u.dtype)
        settings = {"chunk_size": CHUNK}
    y = ssd_function()(
        heads.contiguous(),
        delta.contiguous(),
        A.float(),
        B[:, :, None].contiguous(),
        C[:, :, None].contiguous(),
        **settings,
    )
    y = y.flatten(2)
    if carry is not None:
        skipped = u.unflatten(2, (inputs.heads, -1)).float() * D.float()[:, None]
        y = (y.float() + skipped.flatten(2)).to(u.dtype)
    return y

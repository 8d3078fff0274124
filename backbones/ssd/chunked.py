"""The scan with heads by matrix products (Mamba-2, arXiv 2405.21060, section 6).

Tokens are cut into chunks. Within a chunk a head's output is a masked, decayed product of C and B,
times the inputs; what earlier chunks hand over is one state a chunk. Any device and precision.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from backbones.ssd.contract import HeadInputs

LONGEST = 48  # tokens of a chunk


def chunk_length(length: int) -> int:
    """Tokens of one chunk: at most `LONGEST`, in chunks as even as possible."""
    chunks = -(-length // LONGEST)
    return -(-length // chunks)


def chunked_ssd(inputs: HeadInputs) -> Tensor:
    """Output (B, L, E) of the equations in `HeadInputs`."""
    u, _, A, B, C, D, _, carry = wide = inputs.wide()
    step = wide.step()
    decay = (step if carry is None else step + carry) * A
    length, chunk = u.shape[1], chunk_length(u.shape[1])
    # Tokens of zeros behind the last neither decay a state nor add to one.
    parts = [_chunks(part, chunk) for part in (u, step, decay, B, C)]
    values, step, decay, B, C = parts
    # by head: (B, chunks, H, T), (B, chunks, H, T, P)
    step = step.transpose(2, 3)
    elapsed = decay.transpose(2, 3).cumsum(3)
    values = values.unflatten(3, (inputs.heads, -1)).transpose(2, 3)
    # row t, column s: how much of what s wrote is left at t, with D on the diagonal
    gaps = elapsed[..., :, None] - elapsed[..., None, :]
    later = torch.ones(chunk, chunk, dtype=torch.bool, device=u.device).triu(1)
    left = torch.exp(gaps.masked_fill(later, -torch.inf)) * step[..., None, :]
    attention = (C @ B.transpose(2, 3))[:, :, None] * left
    attention = attention + torch.diag_embed(D[:, None].expand(-1, chunk))
    y = attention @ values
    states = _entering(elapsed, step, values, B)
    y = y + torch.exp(elapsed)[..., None] * (C[:, :, None] @ states)
    y = y.transpose(2, 3).flatten(3).flatten(1, 2)[:, :length]
    return y.to(inputs.u.dtype)


def _chunks(tokens: Tensor, chunk: int) -> Tensor:
    """(B, L, F) as (B, chunks, T, F), with zeros behind the last token."""
    missing = -tokens.shape[1] % chunk
    padded = functional.pad(tokens, (0, 0, 0, missing)) if missing else tokens
    return padded.unflatten(1, (-1, chunk))


def _entering(elapsed: Tensor, step: Tensor, values: Tensor, B: Tensor) -> Tensor:
    """The state (B, chunks, H, N, P) with which each chunk begins."""
    end = elapsed[..., -1:]
    weight = torch.exp(end - elapsed) * step
    added = B.transpose(2, 3)[:, :, None] @ (values * weight[..., None])
    factors = torch.exp(end)[..., None]
    state = torch.zeros_like(added[:, 0])
    states = [state]
    for index in range(added.shape[1] - 1):
        state = factors[:, index] * state + added[:, index]
        states.append(state)
    return torch.stack(states, dim=1)

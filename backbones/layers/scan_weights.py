"""The layers of a bidirectional mixer as plain data, for the plain and the fused path.

`BidirectionalMixer` hands them over on every call; the self-checks make random ones of their own.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Direction(NamedTuple):
    """The layers of one scan direction."""

    conv: nn.Conv1d
    x_proj: nn.Linear
    dt_proj: nn.Linear
    A_log: nn.Parameter
    D: nn.Parameter

    def parameters(self) -> tuple[Tensor, ...]:
        """All tensors of the direction."""
        return (
            self.conv.weight,
            self.conv.get_parameter("bias"),
            self.x_proj.weight,
            self.dt_proj.weight,
            self.dt_proj.bias,
            self.A_log,
            self.D,
        )


class ScanWeights(NamedTuple):
    """The layers of a mixer; both directions share the projections of input and output.

    ``dt_rank`` is the rank R of the timescale's projection, ``divide`` whether the sum of the
    directions is halved (Vim) or taken as it is (VideoMamba).
    """

    in_proj: nn.Linear
    directions: tuple[Direction, Direction]
    out_proj: nn.Linear
    dt_rank: int
    divide: bool

    @property
    def states(self) -> int:
        """State size N of the scan."""
        return self.directions[0].A_log.shape[1]

    @property
    def scale(self) -> float:
        """The factor of the sum over directions."""
        return 0.5 if self.divide else 1.0

    def state_matrix(self) -> Tensor:
        """A of both directions (2, E, N), in at least fp32."""
        return state_matrix_of(torch.stack([part.A_log for part in self.directions]))

    def parameters(self) -> list[Tensor]:
        """All tensors of the mixer."""
        forward, backward = self.directions
        shared = [self.in_proj.weight, self.out_proj.weight]
        return [*shared, *forward.parameters(), *backward.parameters()]


def state_matrix_of(logs: Tensor) -> Tensor:
    """A of its `logs`, in at least fp32."""
    # exp in a low precision would change how long a state is remembered
    return -torch.exp(logs.to(torch.promote_types(logs.dtype, torch.float32)))


def initial_weights(
    dim: int, inner: int, states: int, taps: int, rank: int, divide: bool
) -> ScanWeights:
    """New layers with Mamba's initial values: `dim` channels outside, `inner` inside the mixer."""
    # The order of construction is the order in which random numbers are drawn: another one would
    # give other initial weights for the same seed.
    in_proj = nn.Linear(dim, 2 * inner, bias=False)
    forward = _initial_direction(inner, states, taps, rank)
    backward = _initial_direction(inner, states, taps, rank)
    out_proj = nn.Linear(inner, dim, bias=False)
    return ScanWeights(in_proj, (forward, backward), out_proj, rank, divide)


def _initial_direction(inner: int, states: int, taps: int, rank: int) -> Direction:
    dt_proj, A_log, D = initial_scan(inner, rank, states)
    conv = nn.Conv1d(inner, inner, taps, groups=inner)
    x_proj = nn.Linear(inner, rank + 2 * states, bias=False)
    return Direction(conv, x_proj, dt_proj, A_log, D)


def initial_scan(
    inner: int, rank: int, states: int
) -> tuple[nn.Linear, nn.Parameter, nn.Parameter]:
    """Mamba's initial timescale projection, A_log and D: steps of 1e-3 to 1e-1, A = -1..-N."""
    dt_proj = nn.Linear(rank, inner)
    A_log = nn.Parameter(torch.empty(inner, states))
    D = nn.Parameter(torch.ones(inner))
    # On the meta device there are no values to set, and arithmetic would load PyTorch's compiler.
    if not A_log.is_meta:
        nn.init.uniform_(dt_proj.weight, -(rank**-0.5), rank**-0.5)
        with torch.no_grad():
            step = torch.exp(torch.empty(inner).uniform_(math.log(1e-3), math.log(1e-1)))
            # the inverse of softplus, so that softplus(bias) is `step`
            dt_proj.bias.copy_(step + torch.log(-torch.expm1(-step)))
            A_log.copy_(torch.log(torch.arange(1, states + 1, dtype=torch.float32)))
    return dt_proj, A_log, D

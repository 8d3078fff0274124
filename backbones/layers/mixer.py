"""The bidirectional Mamba mixer of Vision Mamba (Vim, arXiv 2401.09417), under Vim's own parameter names."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.common.errors import UserError
from backbones.layers import batch_invariant as rowwise
from backbones.layers import fused_path as fused
from backbones.layers.stacked_weights import stack
from backbones.scan import ScanInputs, chosen
from backbones.scan.dispatch import run
from backbones.scan.stock import stock_convolve
from backbones.sequence import Trace

TRACED = frozenset({"delta_mean", "delta", "B", "C", "A", "y", "y_forward", "y_backward"})
REVERSE = (False, True)


class Direction(NamedTuple):
    """The layers of one scan direction."""

    conv: nn.Conv1d
    x_proj: nn.Linear
    dt_proj: nn.Linear
    A_log: nn.Parameter
    D: nn.Parameter


class Mixer(nn.Module):
    """What mixes tokens by selective scans; ``kernel`` (`backbones.scan.KERNELS`) may be set at any time."""

    kernel = "auto"


class BidirectionalMixer(Mixer):
    """Two selective scans over the tokens, one each way, that share their input projection, gate and output.

    Parameters without suffix belong to the forward direction, those with ``_b`` to the backward
    one.
    """

    provides = TRACED

    def __init__(
        self,
        dim: int,
        d_state: int = 16,
        d_conv: int = 4,
        expand: int = 2,
        dt_rank: int | str = "auto",
        divide: bool = True,
    ) -> None:
        """`dt_rank` "auto" is ceil(dim / 16); `divide` halves the sum of the directions, as Vim's div2 models do."""
        super().__init__()
        self.dim, self.d_state, self.d_conv, self.inner = dim, d_state, d_conv, expand * dim
        self.dt_rank = math.ceil(dim / 16) if isinstance(dt_rank, str) else dt_rank
        self.divide = divide
        self.in_proj = nn.Linear(dim, 2 * self.inner, bias=False)
        self.conv1d, self.x_proj, self.dt_proj, self.A_log, self.D = self._new_direction()
        self.conv1d_b, self.x_proj_b, self.dt_proj_b, self.A_b_log, self.D_b = self._new_direction()
        self.out_proj = nn.Linear(self.inner, dim, bias=False)

    def _new_direction(self) -> Direction:
        dt_proj, A_log, D = initial_scan(self.inner, self.dt_rank, self.d_state)
        return Direction(
            conv=nn.Conv1d(self.inner, self.inner, self.d_conv, groups=self.inner),
            x_proj=nn.Linear(self.inner, self.dt_rank + 2 * self.d_state, bias=False),
            dt_proj=dt_proj,
            A_log=A_log,
            D=D,
        )

    @property
    def directions(self) -> tuple[Direction, Direction]:
        """The layers of the forward and of the backward direction."""
        return (
            Direction(self.conv1d, self.x_proj, self.dt_proj, self.A_log, self.D),
            Direction(self.conv1d_b, self.x_proj_b, self.dt_proj_b, self.A_b_log, self.D_b),
        )

    def state_matrix(self) -> Tensor:
        """A of both directions (2, E, N), at least fp32."""
        logs = torch.stack([self.A_log, self.A_b_log])
        return -torch.exp(logs.to(torch.promote_types(logs.dtype, torch.float32)))

    def forward(
        self, u: Tensor, needs: frozenset[str] = frozenset(), carry: Tensor | None = None
    ) -> tuple[Tensor, Trace]:
        """Mix tokens `u` (B, L, C); returns their new values (B, L, C) and the trace's fields named in `needs`.

        `carry` (2, B, L, E) is decay handed over by dropped tokens. UserError if a need cannot be
        met.
        """
        if not needs <= TRACED:
            missing = ", ".join(sorted(needs - TRACED))
            raise UserError(
                f"a Mamba mixer has no {missing}: choose a method that needs {', '.join(sorted(TRACED))}"
            )
        if fused.serves(self.kernel, u):
            return fused.mix(self, u, needs, carry)
        inputs = self.scan_inputs(u, carry)
        apart = bool(needs & {"y_forward", "y_backward"})
        result = run(inputs, REVERSE, apart, self.kernel, mean="delta_mean" in needs)
        y = result.y[0] + result.y[1] if apart else result.y
        y = y * 0.5 if self.divide else y
        shown = {
            "delta_mean": result.delta_mean,
            "B": inputs.B,
            "C": inputs.C,
            "A": inputs.A,
            "y": y,
        }
        if apart:
            shown |= {"y_forward": result.y[0], "y_backward": result.y[1]}
        if "delta" in needs and inputs.delta_bias is not None:
            wide = inputs.A.dtype  # at least fp32, as the scan computes it
            shown["delta"] = functional.softplus(
                inputs.delta.to(wide) + inputs.delta_bias.to(wide)[:, None, None]
            )
        return rowwise.linear(y, self.out_proj.weight), Trace(
            **{name: shown[name] for name in needs}
        )

    def scan_inputs(self, u: Tensor, carry: Tensor | None) -> ScanInputs:
        """What the two scans take in for tokens `u` (B, L, C), differentiably."""
        x, z = rowwise.linear(u, self.in_proj.weight).chunk(2, dim=-1)
        kernel = chosen(self.kernel, u.device, u.dtype).kernel
        if kernel == "triton":
            return fused.gpu_inputs(stack(self), x, z, carry)
        convolve = stock_convolve if kernel == "mamba_ssm" else plain_convolve
        inputs = torch.stack(
            [
                convolve(x, part.conv.weight, part.conv.bias, backwards)
                for part, backwards in zip(self.directions, REVERSE, strict=True)
            ]
        )
        delta, B, C = self._project(inputs)
        D, bias = (
            torch.stack([self.D, self.D_b]),
            torch.stack([self.dt_proj.bias, self.dt_proj_b.bias]),
        )
        return ScanInputs(inputs, delta, self.state_matrix(), B, C, D, z, bias, carry)

    def _project(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Raw timescale (2, B, L, E), B and C (2, B, L, N) of the convolved inputs (2, B, L, E)."""
        sizes = [self.dt_rank, self.d_state, self.d_state]
        forward, backward = self.directions
        dt, B, C = rowwise.linear(inputs[0], forward.x_proj.weight).split(sizes, dim=-1)
        dt_b, B_b, C_b = rowwise.linear(inputs[1], backward.x_proj.weight).split(sizes, dim=-1)
        steps = (
            rowwise.linear(dt, forward.dt_proj.weight),
            rowwise.linear(dt_b, backward.dt_proj.weight),
        )
        return torch.stack(steps), torch.stack((B, B_b)), torch.stack((C, C_b))


def initial_scan(
    inner: int, rank: int, states: int
) -> tuple[nn.Linear, nn.Parameter, nn.Parameter]:
    """The timescale's projection, A_log and D of a new scan, as Mamba begins: steps from 1e-3 to 1e-1, A = -1..-N."""
    dt_proj = nn.Linear(rank, inner)
    A_log, D = nn.Parameter(torch.empty(inner, states)), nn.Parameter(torch.ones(inner))
    if (
        not A_log.is_meta
    ):  # no values to set, and slow arithmetic: PyTorch loads its compiler for it
        nn.init.uniform_(dt_proj.weight, -(rank**-0.5), rank**-0.5)
        with torch.no_grad():
            step = torch.exp(torch.empty(inner).uniform_(math.log(1e-3), math.log(1e-1)))
            dt_proj.bias.copy_(step + torch.log(-torch.expm1(-step)))
            A_log.copy_(torch.log(torch.arange(1, states + 1, dtype=torch.float32)))
    return dt_proj, A_log, D


def plain_convolve(x: Tensor, weight: Tensor, bias: Tensor | None, backwards: bool) -> Tensor:
    """SiLU of the causal depthwise convolution of x (B, L, E) with weight (E, 1, taps), backwards looking ahead."""
    reach = weight.shape[-1] - 1
    padded = functional.pad(x.transpose(1, 2), (0, reach) if backwards else (reach, 0))
    taps = weight.flip(-1) if backwards else weight
    return functional.silu(functional.conv1d(padded, taps, bias, groups=weight.shape[0])).transpose(
        1, 2
    )

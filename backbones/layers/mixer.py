"""The bidirectional mixer of Vision Mamba (Vim, arXiv 2401.09417), with its parameter names."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from backbones.common.errors import UserError
from backbones.layers import fused_path, plain_path
from backbones.layers.scan_weights import Direction, ScanWeights, initial_weights
from backbones.layers.stacked_weights import StackCache
from backbones.scan import Choice, ScanInputs, check_kernel, chosen
from backbones.scan.dispatch import running
from backbones.sequence import Trace

OUTPUTS = {f"{name}{end}" for name in ("y", "ungated") for end in ("", "_forward", "_backward")}
TRACED = frozenset({"delta_mean", "delta", "B", "C", "A", *OUTPUTS})


class Mixer(nn.Module):
    """A module that mixes tokens by selective scans.

    ``kernel`` is one of `backbones.scan.KERNELS` and may be set at any time.
    """

    kernel = "auto"

    def chosen(self, device: torch.device | str, dtype: torch.dtype) -> Choice:
        """The kernel that runs for tensors of `device` and `dtype`; UserError if none can."""
        return chosen(self.kernel, device, dtype)

    def check_kernel(self, device: str, dtype: torch.dtype) -> None:
        """UserError if the kernel does not support `device` and `dtype`; nothing is compiled."""
        check_kernel(self.kernel, device, dtype)


def check_needs(who: str, needs: frozenset[str], traced: frozenset[str]) -> None:
    """UserError if a mixer's trace lacks some of `needs`; `who` has the fields `traced`."""
    if not needs <= traced:
        raise UserError(
            f"{who} no {', '.join(sorted(needs - traced))}: "
            f"choose a method that needs {', '.join(sorted(traced))}"
        )


class BidirectionalMixer(Mixer):
    """Two selective scans, one in each direction, with shared input projection, gate and output.

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
        """`dt_rank` "auto" is ceil(dim / 16).

        `divide` halves the sum of the directions, as Vim's div2 models do.
        """
        super().__init__()
        self.dim = dim
        self.d_state = d_state
        self.d_conv = d_conv
        self.inner = expand * dim
        self.dt_rank = math.ceil(dim / 16) if isinstance(dt_rank, str) else dt_rank
        self.divide = divide
        layers = initial_weights(dim, self.inner, d_state, d_conv, self.dt_rank, divide)
        # The names and their order are those of Vim's state dicts.
        forward, backward = layers.directions
        self.in_proj = layers.in_proj
        self.conv1d, self.x_proj, self.dt_proj, self.A_log, self.D = forward
        self.conv1d_b, self.x_proj_b, self.dt_proj_b, self.A_b_log, self.D_b = backward
        self.out_proj = layers.out_proj
        self._stacks = StackCache()

    @property
    def scan_weights(self) -> ScanWeights:
        """The layers as the two paths read them."""
        # Made on every call: parameters may have been replaced since the last one.
        forward = Direction(self.conv1d, self.x_proj, self.dt_proj, self.A_log, self.D)
        backward = Direction(self.conv1d_b, self.x_proj_b, self.dt_proj_b, self.A_b_log, self.D_b)
        directions = (forward, backward)
        return ScanWeights(self.in_proj, directions, self.out_proj, self.dt_rank, self.divide)

    def forward(
        self, u: Tensor, needs: frozenset[str] = frozenset(), carry: Tensor | None = None
    ) -> tuple[Tensor, Trace]:
        """Mix tokens `u` (B, L, C): their new values (B, L, C) and the trace's fields in `needs`.

        `carry` (2, B, L, E) is decay handed over by dropped tokens. UserError if a need cannot be
        met.
        """
        check_needs("a Mamba mixer has", needs, TRACED)
        weights = self.scan_weights
        if fused_path.can_run(self.kernel, u):
            return fused_path.mix(weights, u, needs, carry, self._stacks)
        return plain_path.mix(weights, self.scan_inputs(u, carry), needs, self.kernel)

    def scan_inputs(self, u: Tensor, carry: Tensor | None) -> ScanInputs:
        """The inputs of the two scans for tokens `u` (B, L, C), differentiably."""
        kernel = running(self.kernel, u.device, u.dtype)
        # Inference by `triton` is fused; in training its inputs come from the Triton programs, too.
        if kernel == "triton" and not torch.compiler.is_compiling():
            return fused_path.scan_inputs(self.scan_weights, u, carry)
        return plain_path.scan_inputs(self.scan_weights, u, carry, kernel)

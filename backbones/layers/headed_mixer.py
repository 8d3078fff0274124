"""The mixer of Mamba-2 (arXiv 2405.21060), with its parameter names."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from backbones.layers.batch_invariant import linear
from backbones.layers.headed_passes import passes_for
from backbones.layers.mixer import Mixer, check_needs
from backbones.layers.norm import RMSNorm
from backbones.layers.scan_weights import state_matrix_of
from backbones.scan import Choice
from backbones.sequence import Trace
from backbones.ssd import HeadInputs, check_kernel, chosen, ssd

TRACED = frozenset({"delta_mean", "delta", "A", "B", "C", "y", "ungated"})


class HeadedMixer(Mixer):
    """One scan over heads, each with a timescale and a decay of its own.

    One projection gives the gate z, the inputs x, B and C, and a timescale a head; x, B and C are
    convolved together. The scan's output is gated, normalised and projected.
    """

    def __init__(
        self, dim: int, d_state: int = 64, head: int = 64, d_conv: int = 4, expand: int = 2
    ) -> None:
        """`head` is the number of channels of a head, a divisor of ``expand * dim``."""
        super().__init__()
        self.d_state = d_state
        self.d_conv = d_conv
        self.inner = expand * dim
        self.heads = self.inner // head
        convolved = self.inner + 2 * d_state
        # The order of the published state dicts.
        self.dt_bias = nn.Parameter(torch.empty(self.heads))
        self.A_log = nn.Parameter(torch.empty(self.heads))
        self.D = nn.Parameter(torch.ones(self.heads))
        self.in_proj = nn.Linear(dim, self.inner + convolved + self.heads, bias=False)
        self.conv1d = nn.Conv1d(convolved, convolved, d_conv, groups=convolved)
        self.norm = RMSNorm(self.inner)
        self.out_proj = nn.Linear(self.inner, dim, bias=False)
        # On the meta device there are no values to set.
        if not self.A_log.is_meta:
            with torch.no_grad():
                step = torch.exp(torch.empty(self.heads).uniform_(math.log(1e-3), math.log(1e-1)))
                # the inverse of softplus, so that softplus(bias) is `step`
                self.dt_bias.copy_(step + torch.log(-torch.expm1(-step)))
                self.A_log.copy_(torch.empty(self.heads).uniform_(1, 16).log())

    def chosen(self, device: torch.device | str, dtype: torch.dtype) -> Choice:
        """The kernel that runs for tensors of `device` and `dtype`; UserError if none can."""
        return chosen(self.kernel, device, dtype)

    def check_kernel(self, device: str, dtype: torch.dtype) -> None:
        """UserError if the kernel does not support `device` and `dtype`; nothing is compiled."""
        check_kernel(self.kernel, device, dtype)

    def forward(
        self,
        u: Tensor,
        needs: frozenset[str] = frozenset(),
        carry: Tensor | None = None,
        lead: int = 0,
    ) -> tuple[Tensor, Trace]:
        """Mix tokens `u` (B, L, C) in the order of the scan.

        Returns the new values (B, L - lead, C) of all but the first `lead` tokens, and their trace
        of `needs`; UserError if a need cannot be met. `carry` (B, L, H) is decay handed over by
        dropped tokens.
        """
        check_needs("a Mamba-2 mixer has", needs, TRACED)
        sizes = [self.inner, self.inner + 2 * self.d_state, self.heads]
        passes = passes_for(self.kernel, u)
        z, x, delta = linear(u, self.in_proj.weight, fast=passes.fast).split(sizes, dim=-1)
        convolved = passes.convolve(x, self.conv1d)
        values, B, C = convolved.split([self.inner, self.d_state, self.d_state], dim=-1)
        A = state_matrix_of(self.A_log)
        inputs = HeadInputs(values, delta, A, B, C, self.D, self.dt_bias, carry)
        ungated = ssd(inputs, self.kernel)[:, lead:]
        normed, y = passes.gate_norm(ungated, z[:, lead:], self.norm, "y" in needs)
        out = linear(normed, self.out_proj.weight, fast=passes.fast)
        shown: dict[str, Any] = {"A": A[None, :, None], "y": y, "ungated": ungated}
        shown |= {"B": B[None, :, lead:], "C": C[None, :, lead:]}
        if needs & {"delta", "delta_mean"}:
            step, mean = passes.timescales(delta[:, lead:], self.dt_bias)
            shown |= {"delta": step[None], "delta_mean": mean[None]}
        return out, Trace(**{name: shown[name] for name in needs})

"""VMamba's mixer (arXiv 2401.10166), SS2D without a gate: a convolution and four scans of a map."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.layers import batch_invariant
from backbones.layers.attention import can_run_fast
from backbones.layers.batch_invariant import linear
from backbones.layers.cross_scan import (
    DIRECTIONS,
    REVERSE,
    by_columns,
    image_order,
    scan_order,
    summed,
)
from backbones.layers.mixer import Mixer, check_needs
from backbones.layers.norm import layer_norm
from backbones.layers.scan_weights import initial_scan, state_matrix_of
from backbones.scan import ScanInputs
from backbones.scan.dispatch import run
from backbones.sequence import Trace

TRACED = frozenset({"delta_mean", "delta", "A", "B", "C", "y", "ungated"})
TAPS = 3  # side of the convolution's window


class CrossMixer(Mixer):
    """Four selective scans along rows and columns, each with its own projections, A and D.

    What the releases call ``v05_noz``: x = SiLU(conv(W_in u)); the sum of the four scans of x goes
    through a LayerNorm and an output projection. The stacked parameters have the published names
    and shapes, directions in the order of `backbones.layers.cross_scan`.
    """

    def __init__(self, dim: int, d_state: int, expand: int, dt_rank: int) -> None:
        """`dim` channels outside, `expand` times as many inside; `dt_rank` is R."""
        super().__init__()
        self.d_state = d_state
        self.inner = expand * dim
        self.dt_rank = dt_rank
        # The order of the published state dicts.
        self.out_norm = nn.LayerNorm(self.inner)
        self.in_proj = nn.Linear(dim, self.inner, bias=False)
        self.conv2d = nn.Conv2d(
            self.inner,
            self.inner,
            TAPS,
            padding=TAPS // 2,
            groups=self.inner,
            bias=False,
        )
        read = self.dt_rank + 2 * d_state
        self.x_proj_weight = nn.Parameter(torch.empty(DIRECTIONS, read, self.inner))
        nn.init.uniform_(self.x_proj_weight, -(self.inner**-0.5), self.inner**-0.5)
        self.out_proj = nn.Linear(self.inner, dim, bias=False)
        parts = [initial_scan(self.inner, self.dt_rank, d_state) for _ in range(DIRECTIONS)]
        self.A_logs = nn.Parameter(torch.cat([A_log.detach() for _, A_log, _ in parts]))
        self.Ds = nn.Parameter(torch.cat([D.detach() for _, _, D in parts]))
        weights = [projection.weight.detach() for projection, _, _ in parts]
        self.dt_projs_weight = nn.Parameter(torch.stack(weights))
        biases = [projection.bias.detach() for projection, _, _ in parts]
        self.dt_projs_bias = nn.Parameter(torch.stack(biases))

    def forward(
        self, u: Tensor, rectangle: tuple[int, int], needs: frozenset[str] = frozenset()
    ) -> tuple[Tensor, Trace]:
        """Mix tokens `u` (B, L, C) that fill a map of `rectangle` (rows, columns), row by row.

        Returns their new values (B, L, C) and the trace's fields named in `needs`; UserError if one
        is not available.
        """
        check_needs("cross scans have", needs, TRACED)
        inputs = self._scan_inputs(u, rectangle)
        result = run(inputs, REVERSE, True, self.kernel, mean="delta_mean" in needs)
        y = summed(result.y, rectangle)
        normed = layer_norm(self.out_norm, y)
        out = linear(normed, self.out_proj.weight, fast=can_run_fast(normed))
        # there is no gate
        shown: dict[str, Any] = {"y": y, "ungated": y, "A": inputs.A}
        if "delta_mean" in needs:
            shown["delta_mean"] = image_order(result.delta_mean[..., None], rectangle)[..., 0]
        if "delta" in needs:
            assert inputs.delta_bias is not None
            bias = inputs.delta_bias[:, None, None]
            step = functional.softplus(inputs.delta.to(bias.dtype) + bias)
            shown["delta"] = image_order(step, rectangle)
        for name in needs & {"B", "C"}:
            shown[name] = image_order(getattr(inputs, name), rectangle)
        return out, Trace(**{name: shown[name] for name in needs})

    def _scan_inputs(self, u: Tensor, rectangle: tuple[int, int]) -> ScanInputs:
        """The inputs of the four scans, each in its own order."""
        fast = can_run_fast(u)
        x = linear(u, self.in_proj.weight, fast=fast).transpose(1, 2).unflatten(2, rectangle)
        x = batch_invariant.convolve_silu(self.conv2d, x)
        rows = x.flatten(2).transpose(1, 2).contiguous()
        columns = by_columns(rows, rectangle)
        # A token's projections do not depend on its place, so that one product serves all scans.
        projected = linear(rows, self.x_proj_weight.flatten(0, 1), fast=fast)
        split = projected.unflatten(2, (DIRECTIONS, -1)).permute(2, 0, 1, 3)
        ordered = scan_order(split, rectangle)
        dt, B, C = ordered.split([self.dt_rank, self.d_state, self.d_state], dim=-1)
        delta: list[Tensor] = []
        for part, weight in zip(dt, self.dt_projs_weight, strict=True):
            delta.append(linear(part, weight, fast=fast))
        A = state_matrix_of(self.A_logs)
        return ScanInputs(
            u=torch.stack([rows, columns, rows, columns]),
            delta=torch.stack(delta),
            A=A.unflatten(0, (DIRECTIONS, self.inner)),
            B=B,
            C=C,
            D=self.Ds.unflatten(0, (DIRECTIONS, self.inner)),
            delta_bias=self.dt_projs_bias.to(A.dtype),
        )

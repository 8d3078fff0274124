"""PlainMamba's mixer (arXiv 2403.17695): a convolution on the grid and four zig-zag scans."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.layers import batch_invariant
from backbones.layers.batch_invariant import linear
from backbones.layers.mixer import Mixer, check_needs
from backbones.layers.scan_weights import initial_scan, state_matrix_of
from backbones.layers.zigzag import ARRIVALS, WALKS, paths
from backbones.scan import ScanInputs
from backbones.scan.dispatch import run
from backbones.sequence import Trace

TRACED = frozenset({"delta_mean", "delta", "A", "B", "C", "y", "ungated"})
FORWARD = (False,) * WALKS


class ZigzagMixer(Mixer):
    """Four selective scans that share all parameters, told apart by how a token is reached.

    The depthwise convolution works on the grid: tokens are scattered to their cells, cells of
    removed tokens are zero, and the results of the remaining cells are gathered.

    As in the published code, with which the weights were trained, a scan takes the inputs x in the
    order of its walk but timescale, B and C in the order of the sequence: step t takes x of the
    t-th token of the walk, and Delta, B and C of the t-th token of the sequence. The trace gives
    each token the quantities that its own input met.

    Delta is softplus(W dt + 2 b): the published code adds the bias b of ``dt_proj`` in the
    projection and once more in the scan, and its weights were trained so.
    """

    def __init__(self, dim: int, d_state: int = 16, taps: int = 7, expand: int = 2) -> None:
        """`taps` is the side of the convolution's window."""
        super().__init__()
        self.d_state = d_state
        self.inner = expand * dim
        self.dt_rank = math.ceil(dim / 16)
        self.in_proj = nn.Linear(dim, 2 * self.inner)
        self.conv2d = nn.Conv2d(
            self.inner,
            self.inner,
            taps,
            padding=taps // 2,
            groups=self.inner,
        )
        self.x_proj = nn.Linear(self.inner, self.dt_rank + 2 * d_state, bias=False)
        self.dt_proj, self.A_log, self.D = initial_scan(self.inner, self.dt_rank, d_state)
        self.out_proj = nn.Linear(self.inner, dim)
        self.direction_Bs = nn.Parameter(torch.zeros(ARRIVALS, d_state))
        nn.init.trunc_normal_(self.direction_Bs, std=0.02)

    def forward(
        self,
        u: Tensor,
        position: Tensor,
        grid: tuple[int, int, int],
        needs: frozenset[str] = frozenset(),
    ) -> tuple[Tensor, Trace]:
        """Mix tokens `u` (B, L, C) at `position` (B, L) of `grid` (1, H, W).

        Returns their new values (B, L, C) and the trace's fields named in `needs`; UserError if one
        is not available.
        """
        check_needs("zig-zag scans have", needs, TRACED)
        _, height, width = grid
        # both halves of the input projection: the scans' inputs and the gate
        projected = linear(u, self.in_proj.weight, self.in_proj.bias)
        x, z = projected.chunk(2, dim=-1)
        x = on_grid(x, position, (height, width), self.conv2d)
        convolved = functional.silu(x)
        sizes = [self.dt_rank, self.d_state, self.d_state]
        dt, B, C = linear(convolved, self.x_proj.weight).split(sizes, dim=-1)
        delta = linear(dt, self.dt_proj.weight)
        walk = paths(position, height, width)
        A = state_matrix_of(self.A_log)
        bias = 2 * self.dt_proj.bias.to(A.dtype)
        inputs = ScanInputs(
            u=pick_tokens(convolved, walk.order),
            delta=delta.expand(WALKS, -1, -1, -1),
            A=A.expand(WALKS, -1, -1),
            B=B + self.direction_Bs.to(B.dtype)[walk.arrival],
            C=C.expand(WALKS, -1, -1, -1),
            D=self.D.expand(WALKS, -1),
            delta_bias=bias.expand(WALKS, -1),
        )
        result = run(inputs, FORWARD, True, self.kernel, mean="delta_mean" in needs)
        # Each walk's output goes back to the order of the tokens before the sum.
        outputs = pick_tokens(result.y, walk.step)
        ungated = outputs.sum(0)
        y = functional.silu(z) * ungated
        shown: dict[str, Any] = {"y": y, "ungated": ungated, "A": inputs.A}
        if "delta_mean" in needs:
            shown["delta_mean"] = result.delta_mean.gather(2, walk.step)
        if "delta" in needs:
            step = functional.softplus(delta.to(A.dtype) + bias)
            shown["delta"] = pick_tokens(step, walk.step)
        for name in needs & {"B", "C"}:
            shown[name] = pick_tokens(getattr(inputs, name), walk.step)
        out = linear(y, self.out_proj.weight, self.out_proj.bias)
        return out, Trace(**{name: shown[name] for name in needs})


def pick_tokens(values: Tensor, index: Tensor) -> Tensor:
    """Gather tokens at `index` (K, B, L): (K, B, L, X).

    `values` is (K, B, L, X), or (B, L, X) for all K.
    """
    walks, batch, length = index.shape
    # One index_select of whole rows; gather would need an index for each of the X channels.
    copies = walks * batch if values.ndim == 4 else batch
    images = torch.arange(copies, device=index.device).view(-1, batch, 1)
    rows = index + images * length
    flat = values.reshape(-1, values.shape[-1])
    picked = flat.index_select(0, rows.flatten())
    return picked.view(*index.shape, -1)


def on_grid(x: Tensor, position: Tensor, sides: tuple[int, int], layer: nn.Module) -> Tensor:
    """Apply `layer`, which preserves (B, C, H, W), to tokens x (B, L, C) at `position` (B, L).

    Cells without a token are zero.
    """
    batch, places = len(x), sides[0] * sides[1]
    # the cell of every token in the grids of all images, one after the other
    images = torch.arange(batch, device=x.device)[:, None]
    cells = (position + images * places).flatten()
    empty = x.new_zeros(batch * places, x.shape[2])
    full = empty.index_copy(0, cells, x.flatten(0, 1))
    grid = full.view(batch, places, -1).transpose(1, 2).unflatten(2, sides)
    image = batch_invariant.convolve(layer, grid)
    flat = image.flatten(2).transpose(1, 2).flatten(0, 1)
    return flat.index_select(0, cells).view(x.shape)

"""The parameters of both scan directions stacked, as the kernels read them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from backbones.layers.scan_weights import ScanWeights


class Stacked(NamedTuple):
    """Parameters of both directions.

    E channels, N states, W taps, rank R of the timescale padded to a multiple of 8: ``taps`` (2, W,
    E), ``conv_bias`` (2, E), ``project`` (2, E, R + 2N) and ``expand`` (2, R, E) to multiply rows
    by, ``step_bias``, ``D`` (2, E), ``A`` (2, E, N).
    """

    taps: Tensor
    conv_bias: Tensor
    project: Tensor
    expand: Tensor
    step_bias: Tensor
    D: Tensor
    A: Tensor


class StackCache:
    """The stacked parameters of one mixer, kept between calls of inference."""

    def __init__(self) -> None:
        """Empty."""
        self._key: list[tuple[int, int, torch.dtype]] = []
        self._sources: list[Tensor] = []
        self._stacked: Stacked | None = None

    def get(self, weights: ScanWeights) -> Stacked:
        """Return the stacked parameters; stack again if one was written to or replaced."""
        parameters = [tensor for part in weights.directions for tensor in part.parameters()]
        key: list[tuple[int, int, torch.dtype]] = []
        for tensor in parameters:
            # A tensor of inference mode counts no writes; it cannot be trained either.
            version = 0 if tensor.is_inference() else tensor._version
            key.append((tensor.data_ptr(), version, tensor.dtype))
        if self._stacked is None or key != self._key:
            self._key = key
            # The aliases keep the memory that was read alive, so that no other tensor can come to
            # lie at its address and pass for unchanged.
            self._sources = [tensor.detach() for tensor in parameters]
            self._stacked = stack(weights)
        return self._stacked


def stack(weights: ScanWeights) -> Stacked:
    """Stack the parameters, differentiably."""
    parts = weights.directions
    # Columns of zeros between timescale and B bring rows to whole 16 bytes, at which matrix
    # products are read faster.
    spare = -weights.dt_rank % 8
    projections = []
    expansions = []
    for part in parts:
        rows, rank = part.x_proj.weight, weights.dt_rank
        zeros = rows.new_zeros(spare, rows.shape[1])
        projections.append(torch.cat([rows[:rank], zeros, rows[rank:]]).t())
        expansions.append(functional.pad(part.dt_proj.weight.t(), (0, 0, 0, spare)))
    return Stacked(
        taps=torch.stack([part.conv.weight.squeeze(1).t() for part in parts]),
        conv_bias=torch.stack([part.conv.get_parameter("bias") for part in parts]),
        project=torch.stack(projections),
        expand=torch.stack(expansions),
        step_bias=torch.stack([part.dt_proj.bias for part in parts]),
        D=torch.stack([part.D for part in parts]),
        A=weights.state_matrix(),
    )

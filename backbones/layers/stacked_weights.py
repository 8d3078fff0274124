"""A mixer's parameters stacked over directions; for inference once, for as long as they stay the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from backbones.layers.mixer import BidirectionalMixer, Direction

Key = list[tuple[Tensor, int]]


class Stacked(NamedTuple):
    """Parameters of both directions; E channels, N states, W taps, R rank of the timescale up to a multiple of 8.

    ``taps`` (2, W, E), ``conv_bias`` (2, E), ``project`` (2, E, R + 2N) and ``expand`` (2, R, E) to multiply rows by,
    ``step_bias``, ``D`` (2, E), ``A`` (2, E, N).
    """

    taps: Tensor
    conv_bias: Tensor
    project: Tensor
    expand: Tensor
    step_bias: Tensor
    D: Tensor
    A: Tensor


def stacked(mixer: BidirectionalMixer) -> Stacked:
    """The stacked parameters for inference, made again if any parameter was written to or replaced since."""
    found: tuple[Key, Stacked] | None = vars(mixer).get("_stacked")
    parameters = [parameter for part in mixer.directions for parameter in _parameters(part)]
    if found is None or any(
        _changed(now, *then) for now, then in zip(parameters, found[0], strict=True)
    ):
        # The aliases keep what was read alive, so that no other tensor can come to stand at its
        # address.
        found = (
            [(parameter.detach(), _version(parameter)) for parameter in parameters],
            stack(mixer),
        )
        vars(mixer)["_stacked"] = found
    return found[1]


def _changed(now: Tensor, then: Tensor, version: int) -> bool:
    return _version(now) != version or now.data_ptr() != then.data_ptr() or now.dtype != then.dtype


def _version(parameter: Tensor) -> int:
    """How often it was written to; a tensor of inference mode does not count that, and is not trained."""
    return 0 if parameter.is_inference() else parameter._version


def _parameters(part: Direction) -> tuple[Tensor, ...]:
    conv_bias = part.conv.get_parameter("bias")
    return (
        part.conv.weight,
        conv_bias,
        part.x_proj.weight,
        part.dt_proj.weight,
        part.dt_proj.bias,
        part.A_log,
        part.D,
    )


def stack(mixer: BidirectionalMixer) -> Stacked:
    """The parameters stacked anew, differentiably."""
    parts = mixer.directions
    # Columns of zeros between timescale and B bring rows to whole 16 bytes, at which matrix
    # products are read faster.
    spare = -mixer.dt_rank % 8
    return Stacked(
        taps=torch.stack([part.conv.weight.squeeze(1).t() for part in parts]),
        conv_bias=torch.stack([part.conv.get_parameter("bias") for part in parts]),
        project=torch.stack(
            [_spread(part.x_proj.weight, mixer.dt_rank, spare).t() for part in parts]
        ),
        expand=torch.stack(
            [functional.pad(part.dt_proj.weight.t(), (0, 0, 0, spare)) for part in parts]
        ),
        step_bias=torch.stack([part.dt_proj.bias for part in parts]),
        D=torch.stack([part.D for part in parts]),
        A=mixer.state_matrix(),
    )


def _spread(weight: Tensor, rank: int, spare: int) -> Tensor:
    """The rows of `weight` (R + 2N, E) with `spare` rows of zeros after the first `rank`."""
    return torch.cat([weight[:rank], weight.new_zeros(spare, weight.shape[1]), weight[rank:]])

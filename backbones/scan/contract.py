"""What goes into a scan kernel and what comes out of it; the same for every kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class ScanInputs(NamedTuple):
    """The tensors of a selective scan; K directions, B images, L tokens, E channels, N states.

    ``u``, ``delta`` (K, B, L, E), ``A`` (K, E, N), ``B``, ``C`` (K, B, L, N), ``D`` (K, E), ``z`` (B, L, E),
    ``delta_bias`` (K, E), ``carry`` (K, B, L, E), everything in image order.
    """

    u: Tensor
    delta: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor | None = None
    z: Tensor | None = None
    delta_bias: Tensor | None = None
    carry: Tensor | None = None

    def check(self, reverse: tuple[bool, ...]) -> None:
        """ValueError that names the first tensor of a wrong shape."""
        directions, batch, length, width = self.u.shape
        states = self.A.shape[-1]
        per_token, per_channel = (directions, batch, length), (directions, width)
        wanted: dict[str, tuple[int, ...]] = {
            "delta": (*per_token, width),
            "A": (*per_channel, states),
            "B": (*per_token, states),
            "C": (*per_token, states),
            "D": per_channel,
            "z": (batch, length, width),
            "delta_bias": per_channel,
            "carry": (*per_token, width),
        }
        for name, shape in wanted.items():
            given: Tensor | None = getattr(self, name)
            if given is not None and given.shape != shape:
                raise ValueError(
                    f"selective_scan: {name} must be {shape}, not {tuple(given.shape)}"
                )
        if len(reverse) != directions or min(length, states, width) < 1:
            raise ValueError(
                f"selective_scan: u {tuple(self.u.shape)} and A {tuple(self.A.shape)} with {reverse=}"
            )

    def map(self, change: Callable[[Tensor], Tensor]) -> ScanInputs:
        """The same inputs with `change` applied to each tensor that is there."""
        return ScanInputs(*(None if given is None else change(given) for given in self))  # type: ignore[arg-type]

    def direction(self, index: int) -> ScanInputs:
        """The inputs of one direction, without the gate, which is shared: (B, L, E), (E, N), (B, L, N), (E,)."""
        return self._replace(z=None).map(lambda stacked: stacked[index])


class ScanResult(NamedTuple):
    """Output of a selective scan, in image order.

    ``y``          (B, L, E) sum over directions of the gated outputs, or (K, B, L, E) when they were asked apart
    ``delta_mean`` (K, B, L) mean over channels of softplus(delta + bias), at least fp32
    """

    y: Tensor
    delta_mean: Tensor


def state_dtype(dtype: torch.dtype) -> torch.dtype:
    """The precision a scan of `dtype` keeps its state in: at least fp32."""
    return torch.promote_types(dtype, torch.float32)

"""The inputs of a scan with heads, the same for every kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from backbones.scan.contract import state_dtype


class HeadInputs(NamedTuple):
    """The tensors of a scan with heads, from the first token to the last.

    The equations are Mamba-2's (arXiv 2405.21060). B images, L tokens, E channels in H heads of
    P = E / H neighbouring channels, N states:

        Delta = softplus(delta + delta_bias)
        h_t = exp((Delta_t + carry_t) A) h_{t-1} + Delta_t u_t B_t^T      (P x N, in each head)
        y_t = h_t C_t + D u_t

    ``u`` (B, L, E), ``delta`` (B, L, H), ``A`` (H,) negative, ``B``, ``C`` (B, L, N) shared by the
    heads, ``D``, ``delta_bias`` (H,), ``carry`` (B, L, H) decay handed over by dropped tokens.
    """

    u: Tensor
    delta: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor
    delta_bias: Tensor
    carry: Tensor | None = None

    @property
    def heads(self) -> int:
        """Number H of heads."""
        return self.A.shape[0]

    def check(self) -> None:
        """ValueError that names the first tensor of a wrong shape."""
        batch, length, width = self.u.shape
        heads, states = self.heads, self.B.shape[-1]
        shapes: dict[str, tuple[int, ...]] = {
            "delta": (batch, length, heads),
            "B": (batch, length, states),
            "C": (batch, length, states),
            "D": (heads,),
            "delta_bias": (heads,),
            "carry": (batch, length, heads),
        }
        for name, shape in shapes.items():
            tensor: Tensor | None = getattr(self, name)
            if tensor is not None and tensor.shape != shape:
                raise ValueError(f"ssd: {name} must be {shape}, not {tuple(tensor.shape)}")
        # No kernel runs over nothing, and each would fail in its own way.
        if width % heads or min(length, states) < 1:
            raise ValueError(f"ssd: u {tuple(self.u.shape)} in {heads} heads of {states} states")

    def map(self, change: Callable[[Tensor], Tensor]) -> HeadInputs:
        """The same inputs with `change` applied to each tensor that is not None."""
        parts: Any = (None if part is None else change(part) for part in self)
        return HeadInputs(*parts)

    def wide(self) -> HeadInputs:
        """The same inputs in the precision of the state, at least fp32."""
        # The state runs through all tokens: rounding at each of them would add up.
        dtype = state_dtype(self.u.dtype)
        return self.map(lambda tensor: tensor.to(dtype))

    def step(self) -> Tensor:
        """Delta (B, L, H), in at least fp32."""
        # The decay is an exponential of a sum of steps, also in a model of bf16.
        wide = torch.promote_types(self.delta.dtype, torch.float32)
        return functional.softplus(self.delta.to(wide) + self.delta_bias.to(wide))

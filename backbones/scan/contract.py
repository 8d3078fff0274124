"""The inputs and outputs of a scan, the same for every kernel, and shared helpers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, Self, TypeVar

import torch
from torch import Tensor


class ScanInputs(NamedTuple):
    """The tensors of a selective scan; K directions, B images, L tokens, E channels, N states.

    ``u``, ``delta`` (K, B, L, E), ``A`` (K, E, N), ``B``, ``C`` (K, B, L, N), ``D`` (K, E), ``z``
    (B, L, E), ``delta_bias`` (K, E), ``carry`` (K, B, L, E), everything in image order.
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
        # Kernels read memory by these sizes: a wrong shape would read beyond a tensor's end.
        per_token, per_channel = (directions, batch, length), (directions, width)
        shapes: dict[str, tuple[int, ...]] = {
            "delta": (*per_token, width),
            "A": (*per_channel, states),
            "B": (*per_token, states),
            "C": (*per_token, states),
            "D": per_channel,
            "z": (batch, length, width),
            "delta_bias": per_channel,
            "carry": (*per_token, width),
        }
        for name, shape in shapes.items():
            tensor: Tensor | None = getattr(self, name)
            if tensor is not None and tensor.shape != shape:
                raise ValueError(
                    f"selective_scan: {name} must be {shape}, not {tuple(tensor.shape)}"
                )
        if len(reverse) != directions or min(length, states, width) < 1:
            raise ValueError(
                f"selective_scan: u {tuple(self.u.shape)} and A {tuple(self.A.shape)} "
                f"with {reverse=}"
            )

    def map(self, change: Callable[[Tensor], Tensor]) -> ScanInputs:
        """The same inputs with `change` applied to each tensor that is not None."""
        parts: Any = (None if part is None else change(part) for part in self)
        return ScanInputs(*parts)

    def direction(self, index: int) -> ScanInputs:
        """The inputs of one direction, without the shared gate: (B, L, E), (E, N), (B, L, N)."""
        return self._replace(z=None).map(lambda stacked: stacked[index])


class ScanResult(NamedTuple):
    """Output of a selective scan, in image order.

    ``y``          (B, L, E) sum over directions of the gated outputs, or (K, B, L, E) if separate
    ``delta_mean`` (K, B, L) mean over channels of softplus(delta + bias), at least fp32
    """

    y: Tensor
    delta_mean: Tensor


Scan = Callable[[ScanInputs, tuple[bool, ...], bool], ScanResult]


def state_dtype(dtype: torch.dtype) -> torch.dtype:
    """The precision in which a scan of `dtype` keeps its state: at least fp32."""
    return torch.promote_types(dtype, torch.float32)


def dense(tensor: Tensor) -> Tensor:
    """The tensor with its last axis contiguous, as every kernel reads it."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def backwards_bits(reverse: tuple[bool, ...]) -> int:
    """An integer whose bit k is set if direction k runs backwards."""
    # kernels take one integer, whatever the number of directions
    bits = 0
    for index, backwards in enumerate(reverse):
        bits |= backwards << index
    return bits


class Tensors(Protocol):
    """A tuple of the tensors that a scan reads, some of which may be None."""

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The same with `change` applied to each tensor."""
        ...

    def __iter__(self) -> Iterator[Tensor | None]:
        """One after the other."""
        ...


Inputs = TypeVar("Inputs", bound=Tensors)


def autograd_gradients(
    outputs_of: Callable[[Inputs], Sequence[Tensor]],
    inputs: Inputs,
    output_gradients: Sequence[Tensor] | None = None,
) -> list[Tensor | None]:
    """Gradients of all inputs by autograd, for those of `outputs_of(inputs)` or of a scalar."""
    with torch.enable_grad():
        leaves = inputs.map(lambda tensor: tensor.detach().requires_grad_())
        outputs = outputs_of(leaves)
    present = [leaf for leaf in leaves if leaf is not None]
    # For an input that a kernel left out of the graph, zeros, which a check will find wrong.
    gradients = iter(
        torch.autograd.grad(outputs, present, output_gradients, materialize_grads=True)
    )
    return [None if leaf is None else next(gradients) for leaf in leaves]


def packed_gradients(inputs: ScanInputs, gradients: Sequence[Tensor | None]) -> list[Tensor]:
    """Gradients in their inputs' dtypes; an empty tensor for an input that is None."""
    packed: list[Tensor] = []
    for tensor, gradient in zip(inputs, gradients, strict=True):
        # A torch operator returns a list of tensors, which cannot contain None.
        if tensor is None or gradient is None:
            packed.append(inputs.u.new_empty(0))
        else:
            packed.append(gradient.to(tensor.dtype).contiguous())
    return packed


class GradientParts(NamedTuple):
    """What a kernel writes of the nine gradients: sums over images or channels in parts.

    ``du``, ``ddelta`` (K, B, L, E) in u's dtype, all others in fp32: ``dA`` (K, B, N, E), ``dD``,
    ``dbias`` (K, B, E), ``dB``, ``dC`` (blocks of channels, K, B, L, N), ``dcarry`` (K, B, L, E).
    """

    du: Tensor
    ddelta: Tensor
    dA: Tensor
    dB: Tensor
    dC: Tensor
    dD: Tensor
    dz: Tensor | None
    dbias: Tensor
    dcarry: Tensor | None

    @classmethod
    def new(cls, inputs: ScanInputs, blocks: int, dz: Tensor | None) -> GradientParts:
        """Memory for all of them but `dz`, not initialised."""
        directions, batch, length, width = inputs.u.shape
        states = inputs.A.shape[-1]
        per_image, per_token = (directions, batch), (directions, batch, length)

        def new(*shape: int) -> Tensor:
            return torch.empty(shape, dtype=torch.float32, device=inputs.u.device)

        return cls(
            du=inputs.u.new_empty(*per_token, width),
            ddelta=inputs.u.new_empty(*per_token, width),
            dA=new(*per_image, states, width),
            dB=new(blocks, *per_token, states),
            dC=new(blocks, *per_token, states),
            dD=new(*per_image, width),
            dz=dz,
            dbias=new(*per_image, width),
            dcarry=None if inputs.carry is None else new(*per_token, width),
        )

    def added_up(self, inputs: ScanInputs) -> list[Tensor]:
        """The gradients of `inputs`, summed in a fixed order; empty for an input of None."""
        sums = self._replace(
            dA=self.dA.sum(1).transpose(1, 2),
            dB=self.dB.sum(0),
            dC=self.dC.sum(0),
            dD=self.dD.sum(1),
            dbias=self.dbias.sum(1),
        )
        return packed_gradients(inputs, sums)

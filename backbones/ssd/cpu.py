"""The `cpu` kernel of a scan with heads: matrix products by torch, compiled passes between them.

In fp32. An image's bits depend neither on its batch nor on the number of threads. With gradients
the same products run in plain PyTorch, by `chunked`.
"""

from __future__ import annotations

from math import prod
from operator import itemgetter
from typing import NamedTuple

import torch
from torch import Tensor

from backbones.compiled.native import fill
from backbones.scan.contract import dense
from backbones.ssd.chunked import chunk_length, chunked_ssd
from backbones.ssd.contract import HeadInputs
from backbones.ssd.cpu_passes import FINISH, FRAME, MASK, PACK, PASS_ON, TIME, chunk_kernel

# Floats of the inputs that are worked on at a time, so that what lies between two products stays in
# cache.
ENOUGH = 1 << 18


def cpu_ssd(inputs: HeadInputs) -> Tensor:
    """Output (B, L, E) of the equations in `HeadInputs`."""
    if torch.is_grad_enabled():
        return chunked_ssd(inputs)
    wide = inputs.map(lambda tensor: dense(tensor.float()))
    batch, length, width = inputs.u.shape
    y = torch.empty(inputs.u.shape)
    together = min(batch, max(1, ENOUGH // (length * width)))
    buffers = _Buffers.new(together, length, width, inputs.heads, inputs.B.shape[2])
    shared = {"A": wide.A, "D": wide.D, "delta_bias": wide.delta_bias}
    for first in range(0, batch, together):
        images = slice(first, first + together)
        group = wide.map(itemgetter(images))._replace(**shared)
        _scan(group, buffers.of_first(len(group.u)), y[images])
    return y.to(inputs.u.dtype)


def timescales(delta: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Softplus(delta + bias) of timescales (B, L, H) in fp32, and its mean over heads (B, L)."""
    batch, length, heads = delta.shape
    step, mean = torch.empty(delta.shape), torch.empty(batch, length)
    delta = dense(delta)
    frame = fill(
        FRAME,
        delta=delta,
        delta_b=delta.stride(0),
        delta_l=delta.stride(1),
        delta_bias=bias,
        step=step,
        elapsed=mean,
        length=length,
        heads=heads,
        stage=TIME,
        tasks=batch,
    )
    chunk_kernel()(frame)
    return step, mean


class _Buffers(NamedTuple):
    """What lies between two products, chunk after chunk and each of all images.

    ``packed_B``, ``packed_C`` (chunks, B, T, N); ``step``, ``elapsed`` (chunks, B, H, T);
    ``values``, ``within`` (chunks, B, H, T, P); ``products`` (chunks, B, T, T), ``mask`` (chunks,
    B, H, T, T); of all chunks but the last ``scaled`` (B, T, E) and ``entering`` (B, N, E); of all
    but the first ``across`` (B, T, E).
    """

    packed_B: Tensor
    packed_C: Tensor
    step: Tensor
    elapsed: Tensor
    values: Tensor
    products: Tensor
    mask: Tensor
    within: Tensor
    scaled: Tensor
    entering: Tensor
    across: Tensor

    @classmethod
    def new(cls, batch: int, length: int, width: int, heads: int, states: int) -> _Buffers:
        """Memory for `batch` images, not initialised."""
        tokens = chunk_length(length)
        chunks, channels = -(-length // tokens), width // heads
        every, between = (chunks, batch), (chunks - 1, batch)
        return cls(
            packed_B=torch.empty(*every, tokens, states),
            packed_C=torch.empty(*every, tokens, states),
            step=torch.empty(*every, heads, tokens),
            elapsed=torch.empty(*every, heads, tokens),
            values=torch.empty(*every, heads, tokens, channels),
            products=torch.empty(*every, tokens, tokens),
            mask=torch.empty(*every, heads, tokens, tokens),
            within=torch.empty(*every, heads, tokens, channels),
            scaled=torch.empty(*between, tokens, width),
            entering=torch.empty(*between, states, width),
            across=torch.empty(*between, tokens, width),
        )

    def of_first(self, batch: int) -> _Buffers:
        """The same memory for fewer images."""
        if batch == self.step.shape[1]:
            return self
        fewer: list[Tensor] = []
        for part in self:
            shape = (part.shape[0], batch, *part.shape[2:])
            fewer.append(part.flatten()[: prod(shape)].view(shape))
        return _Buffers(*fewer)


def _scan(inputs: HeadInputs, buffers: _Buffers, y: Tensor) -> None:
    """Scan some images, into `y` (B, L, E)."""
    batch, length, width = y.shape
    chunks, _, heads, tokens = buffers.step.shape
    states = inputs.B.shape[2]
    fields = _fields(inputs) | {
        "batch": batch,
        "length": length,
        "width": width,
        "heads": heads,
        "states": states,
        "tokens": tokens,
        "chunks": chunks,
    }
    kernel = chunk_kernel()

    def run(stage: int, tasks: int) -> None:
        kernel(fill(FRAME, fields, buffers._asdict(), y=y, stage=stage, tasks=tasks))

    B, C = buffers.packed_B, buffers.packed_C
    run(PACK, chunks * batch)
    _bmm(C, B.transpose(-1, -2), buffers.products)
    run(MASK, chunks * batch)
    _bmm(buffers.mask, buffers.values, buffers.within)
    if chunks > 1:
        _bmm(B[:-1].transpose(-1, -2), buffers.scaled, buffers.entering)
        run(PASS_ON, batch * states)
        _bmm(C[1:], buffers.entering, buffers.across)
    run(FINISH, chunks * batch)


def _bmm(left: Tensor, right: Tensor, out: Tensor) -> None:
    """Products (..., m, n) of stacks of matrices; a pair's bits do not depend on the others."""
    pairs = [stack.flatten(0, -3) for stack in (left, right, out)]
    if len(pairs[2]) > 1:
        torch.bmm(*pairs[:2], out=pairs[2])
        return
    # a lone pair takes another path through the BLAS
    twice = [stack.expand(2, -1, -1) for stack in pairs[:2]]
    out.copy_(torch.bmm(*twice)[:1].view(out.shape))


def _fields(inputs: HeadInputs) -> dict[str, Tensor | int]:
    """Addresses and strides of the scan's inputs."""
    fields: dict[str, Tensor | int] = {}
    for name, tensor in inputs._asdict().items():
        if tensor is None:
            continue
        fields[name] = tensor
        if tensor.ndim == 3:
            fields |= {f"{name}_b": tensor.stride(0), f"{name}_l": tensor.stride(1)}
    return fields

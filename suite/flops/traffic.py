"""What a forward pass needs: matrix products and scans by shape, and bytes between them.

A pass is recorded as the counters see it (`suite.flops.counters`), on tensors without values.
Convolutions that mix channels are matrix products, such as that of the patches; a depthwise one is
elementwise. All operators between two products or scans count as one kernel, as early as its inputs
are there: it reads each tensor from before it once, and writes once what is needed after it.
Operators that only move values, or multiply by a number, cost nothing by themselves: their
neighbours can read and write elsewhere, and scale.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from suite.flops.counters import (
    CONVOLUTIONS,
    COUNTED_SCAN,
    COUNTED_SSD,
    PRODUCTS,
    ZERO,
    StandIns,
    check_known,
)

SCALING = ("aten::mul", "aten::div")
SELECTING = ("aten::gather", "aten::index", "aten::index_select")  # read as much as they write


class Product(NamedTuple):
    """`batch` products of matrices (rows, inner) and (inner, columns), made at once."""

    batch: int
    rows: int
    inner: int
    columns: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return prod(self)


class Scan(NamedTuple):
    """A selective scan of (directions, batch, length, width) with so many states a channel.

    ``gated``     whether it takes the gate
    ``separate``  whether it writes each direction's output, not their sum
    """

    directions: int
    batch: int
    length: int
    width: int
    states: int
    gated: bool
    separate: bool


@dataclass(frozen=True)
class Traffic:
    """What a pass needs: products and scans, each with its number, and bytes between them."""

    products: Counter[Product]
    scans: Counter[Scan]
    bytes: int


class _Step(NamedTuple):
    """One call of an operator that made or changed a tensor."""

    name: str
    inputs: list[Tensor]
    outputs: list[Tensor]
    arguments: tuple[Any, ...]


def traffic(call: Callable[[], Any]) -> Traffic:
    """Record `call()`, which runs a model on the meta device.

    UnknownOperatorError for an operator of no list; NotImplementedError for the scan of Mamba-2,
    which is matrix products of the kernel's choice.
    """
    record = _Record()
    with torch.enable_grad(), StandIns(), record:
        result = call()
    check_known(record.names)
    steps = record.steps
    if any(step.name == COUNTED_SSD for step in steps):
        raise NotImplementedError("the scan of Mamba-2 is matrix products of the kernel's choice")
    products = Counter(_product(step) for step in steps if _is_product(step))
    scans = Counter(_scan(step) for step in steps if step.name == COUNTED_SCAN)
    results = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
    return Traffic(products, scans, _bytes(steps, results))


class _Record(TorchDispatchMode):
    """Record every operator but views."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.steps: list[_Step] = []
        self.names: set[str] = set()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func._schema.name
        outputs = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        if not outputs:  # asks for a type, a device or a layout
            return out
        self.names.add(name)
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        given = {_storage(tensor) for tensor in inputs}
        view = not func._schema.is_mutable and all(_storage(part) in given for part in outputs)
        if not view:
            # tensors are kept, so that no storage's number is used again
            self.steps.append(_Step(name, inputs, outputs, args))
        return out


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _is_product(step: _Step) -> bool:
    if step.name in CONVOLUTIONS:
        weight, channels = step.arguments[1], step.arguments[0].shape[1]
        return bool(weight.shape[1] == channels)
    return step.name in PRODUCTS


def _product(step: _Step) -> Product:
    out = step.outputs[0]
    if step.name in CONVOLUTIONS:
        weight = step.arguments[1]
        return Product(1, out.numel() // out.shape[1], weight[0].numel(), out.shape[1])
    # of `addmm` and its like the first is added
    matrices = [tensor for tensor in step.inputs if tensor.ndim > 1][-2:]
    left = matrices[0]
    if len(matrices) < 2:
        return Product(1, out.numel(), left.shape[-1], 1)
    *outer, rows, inner = left.shape
    return Product(prod(outer), rows, inner, out.shape[-1])


def _scan(step: _Step) -> Scan:
    u, A, _, separate, gated = step.arguments
    directions, batch, length, width = u.shape
    return Scan(directions, batch, length, width, A.shape[-1], bool(gated), bool(separate))


def _bytes(steps: Sequence[_Step], results: Sequence[Tensor]) -> int:
    """Bytes that the kernels between products and scans read and write."""
    kernel_of, depths = _kernels(steps)
    # A kernel that calculates nothing costs nothing.
    calculating = {kernel_of[number] for number in kernel_of if not _is_moving(steps[number])}
    # What is made of no tensor, such as zeros, need not be read.
    sources = [step for step in steps if not step.inputs]
    constant = {_storage(part) for step in sources for part in step.outputs}
    reads: dict[tuple[Any, ...], int] = {}
    writes: dict[int, int] = {}
    made: dict[int, int | None] = {}  # the kernel that made a storage
    for number, step in enumerate(steps):
        here = kernel_of.get(number)
        for part in step.inputs:
            storage = _storage(part)
            if storage in constant or (here is not None and made.get(storage) == here):
                continue
            if made.get(storage) in calculating:
                writes[storage] = part.untyped_storage().nbytes()
            if here in calculating:
                size = min(part.numel() * part.element_size(), part.untyped_storage().nbytes())
                if step.name in SELECTING and part is step.inputs[0]:
                    size = step.outputs[0].numel() * part.element_size()
                # of one depth all could be one kernel, which reads a tensor once
                place = (storage, part.storage_offset(), tuple(part.shape), part.stride())
                reads[depths[number], *place] = size
        for part in step.outputs:
            made[_storage(part)] = here
    for part in results:
        if made.get(_storage(part)) in calculating:
            writes[_storage(part)] = part.untyped_storage().nbytes()
    return sum(reads.values()) + sum(writes.values())


def _kernels(steps: Sequence[_Step]) -> tuple[dict[int, int], list[int]]:
    """The kernel of each step that is no product or scan, named by its last; each step's depth.

    The depth of a step is how many products and scans are before it, one after the other.
    """
    depth_of: dict[int, int] = {}  # of a storage
    maker: dict[int, int] = {}  # of a storage, unless that is a product or a scan
    joined: dict[int, int] = {}
    depths: list[int] = []

    def last(number: int) -> int:
        while joined[number] != number:
            number = joined[number]
        return number

    for number, step in enumerate(steps):
        depth = max((depth_of.get(_storage(part), 0) for part in step.inputs), default=0)
        anchor = _is_product(step) or step.name == COUNTED_SCAN
        depths.append(depth)
        if not anchor:
            joined[number] = number
            for part in step.inputs:
                before = maker.get(_storage(part))
                if before is not None and depths[before] == depth:
                    joined[last(before)] = number
        for part in step.outputs:
            depth_of[_storage(part)] = depth + anchor
            maker.pop(_storage(part), None)
            if not anchor:
                maker[_storage(part)] = number
    return {number: last(number) for number in joined}, depths


def _is_moving(step: _Step) -> bool:
    scaling = step.name in SCALING and len(step.inputs) == 1
    return step.name in ZERO or scaling

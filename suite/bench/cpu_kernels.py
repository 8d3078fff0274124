"""Speed and error of the scan kernels on this CPU, each beside a yardstick of the same run."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from rich.table import Table

from backbones.layers import batch_invariant
from backbones.layers.block import Block
from backbones.layers.mixer import BidirectionalMixer
from backbones.scan import chosen
from backbones.scan.cpu_conv import convolve
from backbones.scan.cpu_norm import add_norm
from backbones.sequence import new_sequence
from suite.bench.scan_inputs import (
    exact_results,
    largest_error,
    random_inputs,
    results,
    scan,
)
from suite.bench.tables import figures_table
from suite.bench.timing import Run, best_seconds

LENGTHS = (1, 2, 17, 100, 197, 200)  # around the tiles of the kernel and at Vim's own length


SPEEDUP = "scan, cpu: speed-up"


class KernelRow(NamedTuple):
    """One figure: `value` in `unit`, and what to read it against."""

    name: str
    value: float
    unit: str
    against: str = ""


class Sizes(NamedTuple):
    """Sizes of the scan alone and of a stack of blocks; `seconds` each call is repeated for."""

    batch: int = 32
    length: int = 197
    dim: int = 192
    states: int = 16
    depth: int = 24
    stack_batch: int = 16
    matrix: int = 2048
    seconds: float = 0.5

    @property
    def inner(self) -> int:
        """Channels of the scan."""
        return 2 * self.dim

    def best(self, run: Run) -> float:
        """Seconds of the fastest call of `run`."""
        return best_seconds(run, self.seconds)


VIM_TINY = Sizes()


def measure_cpu_kernels(sizes: Sizes = VIM_TINY) -> list[KernelRow]:
    """Measure in fp32; UserError if the `cpu` kernel does not pass its self-check."""
    chosen("cpu", "cpu", torch.float32)  # compiles and checks it, which must not be timed
    with torch.no_grad():
        return [*_scan_rows(sizes), *_error_rows(), *_stack_rows(sizes)]


def answer(rows: list[KernelRow]) -> str:
    """How much faster than the reference the suite's kernel is, in a line; empty if not timed."""
    for row in rows:
        if row.name == SPEEDUP:
            return (
                f"On this CPU the kernel `cpu` scans {row.value:.3g} times as fast as `reference`."
            )
    return ""


def table(rows: list[KernelRow]) -> Table:
    """The rows for a terminal, with the number of threads they were measured on."""
    title = f"Scan kernels, CPU, fp32, {torch.get_num_threads()} threads"
    columns = {
        "figure": "{row.name}",
        "value": "{row.value:.3g}",
        "unit": "{row.unit}",
        "against": "{row.against}",
    }
    return figures_table(title, rows, columns)


def _scan_rows(sizes: Sizes) -> Iterator[KernelRow]:
    inputs = random_inputs(1, sizes.batch, sizes.length, sizes.inner, sizes.states)
    updates = inputs.u.numel() * sizes.states
    # every update of a state takes one exponential, which is most of its cost
    floats = torch.randn(updates)
    out = torch.empty_like(floats)
    exponential = sizes.best(lambda: torch.exp(floats, out=out))
    fast = sizes.best(lambda: scan(inputs, "cpu"))
    slow = sizes.best(lambda: scan(inputs, "reference"))
    shape = f"one direction of ({sizes.batch}, {sizes.length}, {sizes.inner}, {sizes.states})"
    count = f"{updates / 1e6:.1f} M floats, one for each update"
    yield KernelRow("torch.exp of as many floats", exponential * 1e3, "ms", count)
    yield KernelRow("scan, reference", slow * 1e3, "ms", shape)
    yield KernelRow("scan, cpu", fast * 1e3, "ms", shape)
    yield KernelRow("scan, cpu: rate", updates / fast / 1e9, "G updates/s")
    yield KernelRow(SPEEDUP, slow / fast, "x", "over reference")
    yield KernelRow("scan, cpu: time over torch.exp", fast / exponential, "x")


def _error_rows() -> Iterator[KernelRow]:
    # relative to the largest value of a tensor, since single values may be near zero
    unit = "of the largest"
    for kernel in ("cpu", "reference"):
        errors = []
        for length in LENGTHS:
            inputs = random_inputs(2, 2, length, 48, 16, seed=length)
            exact = exact_results(inputs, gradients=False)
            errors.append(largest_error([scan(inputs, kernel)], exact))
        error = float(np.max(errors))
        yield KernelRow(f"error of {kernel}", error, unit, "a loop in fp64")
    # one length only: a backward pass in fp64 takes long
    inputs = random_inputs(2, 2, 64, 48, 16)
    both = results(partial(scan, kernel="cpu"), inputs, gradients=True)
    error = largest_error(both[1:], exact_results(inputs, gradients=True)[1:])
    yield KernelRow("error of cpu's gradients", error, unit, "autograd in fp64")


def _stack_rows(sizes: Sizes) -> Iterator[KernelRow]:
    """A stack of blocks against its floor: matrix products at torch's best rate, and its scans."""
    depth, batch, length = sizes.depth, sizes.stack_batch, sizes.length
    blocks = [Block(sizes.dim, BidirectionalMixer(sizes.dim, sizes.states)) for _ in range(depth)]
    pixels = torch.randn(batch, length, sizes.dim)
    tokens = new_sequence(pixels, [length // 2], (1, 1, length - 1))

    def run() -> None:
        after = tokens
        for block in blocks:
            after = block(after)

    whole = sizes.best(run)
    # large square matrices reach the highest rate that torch has here
    square = torch.randn(sizes.matrix, sizes.matrix)
    rate = 2 * sizes.matrix**3 / sizes.best(lambda: square @ square)
    # the parts of a block by themselves
    seconds, flops = _linear_layers(blocks[0].mixer, batch * length, sizes)
    linear, flops = depth * seconds, depth * flops
    inputs = random_inputs(2, batch, length, sizes.inner, sizes.states)
    scans = depth * sizes.best(lambda: scan(inputs, "cpu"))
    elementwise = depth * _convolution_and_norm(sizes)
    # a stack that does nothing but products and scans, each as fast as alone
    floor = flops / rate + scans
    shape = f"{depth} blocks of width {sizes.dim}, {batch} images of {length} tokens"
    matmul = f"torch.matmul of {sizes.matrix} x {sizes.matrix}"
    yield KernelRow("stack of blocks", whole * 1e3, "ms", shape)
    bare = "without patch embedding and head"
    yield KernelRow("stack: throughput", batch / whole, "images/s", bare)
    yield KernelRow("stack: matmul yardstick", rate / 1e9, "GFLOP/s", matmul)
    own = "at the stack's own shapes"
    yield KernelRow("stack: linear layers' rate", flops / linear / 1e9, "GFLOP/s", own)
    parts = "linear layers at the yardstick + scans alone"
    yield KernelRow("stack: floor", floor * 1e3, "ms", parts)
    yield KernelRow("stack: floor over time", floor / whole, "x")
    yield KernelRow("stack: linear layers", linear * 1e3, "ms", f"{flops / 1e9:.1f} GFLOP")
    yield KernelRow("stack: scans", scans * 1e3, "ms", "timed alone")
    yield KernelRow("stack: convolution and norm", elementwise * 1e3, "ms", "timed alone")


def _linear_layers(mixer: BidirectionalMixer, rows: int, sizes: Sizes) -> tuple[float, float]:
    """Seconds of a block's linear layers outside the scan on `rows` tokens, and FLOPs of all."""
    seconds = 0.0
    # the kernel projects the timescale inside the scan, whose time has it already
    weights = mixer.dt_proj.weight.numel() + mixer.dt_proj_b.weight.numel()
    for layer in (mixer.in_proj, mixer.x_proj, mixer.x_proj_b, mixer.out_proj):
        x = torch.randn(rows, layer.in_features)
        linear = partial(batch_invariant.linear, x, layer.weight, fast=True)
        seconds += sizes.best(linear)
        weights += layer.weight.numel()
    return seconds, 2.0 * rows * weights


def _convolution_and_norm(sizes: Sizes) -> float:
    """Seconds of one block's convolutions, and of its addition and norm."""
    tokens = (sizes.stack_batch, sizes.length)
    # the gate's half of the channels is skipped, as in the mixer
    x = torch.randn(*tokens, 2 * sizes.inner)[..., : sizes.inner]
    taps, bias = torch.randn(2, 4, sizes.inner), torch.randn(2, sizes.inner)
    branch, residual = torch.randn(2, *tokens, sizes.dim)
    weight = torch.ones(sizes.dim)
    convolutions = sizes.best(lambda: convolve(x, taps, bias, 0b10))
    return convolutions + sizes.best(lambda: add_norm(branch, residual, weight, 1e-5))

"""How fast and how exact the scan kernels are here, each figure beside a yardstick measured in the same run.

Times are the best of several runs, since whatever else the machine does can only add to them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from rich.table import Table
from torch import Tensor, nn

from backbones.layers import batch_invariant
from backbones.layers.block import Block
from backbones.layers.mixer import BidirectionalMixer
from backbones.scan import ScanInputs, chosen, selective_scan
from backbones.scan.cpu_conv import convolve
from backbones.scan.cpu_norm import add_norm
from backbones.sequence import TokenSequence, new_sequence

BOTH = (False, True)
SECONDS = 0.5


@dataclass(frozen=True)
class KernelRow:
    """One figure: `value` in `unit`, and what it is to be read against."""

    name: str
    value: float
    unit: str
    against: str = ""


@dataclass(frozen=True)
class Sizes:
    """What is measured: the scan alone, and a stack of blocks."""

    batch: int = 32
    length: int = 197
    dim: int = 192
    states: int = 16
    depth: int = 24
    stack_batch: int = 16
    matrix: int = 2048
    repeats: int = 5

    @property
    def inner(self) -> int:
        """Channels of the scan."""
        return 2 * self.dim


def measure_kernels(sizes: Sizes | None = None) -> list[KernelRow]:
    """Measure on this CPU in fp32; UserError if the `cpu` kernel does not pass its self-check."""
    sizes = sizes or Sizes()
    chosen("cpu", "cpu", torch.float32)
    with torch.no_grad():
        rows = [*_scan_rows(sizes), *_accuracy_rows()]
    rows += _gradient_rows()
    with torch.no_grad():
        rows += _stack_rows(sizes)
    return rows


def table(rows: list[KernelRow]) -> Table:
    """The rows for a terminal, with the number of threads they were measured on."""
    shown = Table(title=f"Scan kernels, CPU, fp32, {torch.get_num_threads()} threads")
    shown.add_column("figure")
    shown.add_column("value", justify="right")
    shown.add_column("unit")
    shown.add_column("against")
    for row in rows:
        shown.add_row(row.name, f"{row.value:.3g}", row.unit, row.against)
    return shown


def random_inputs(
    directions: int,
    batch: int,
    length: int,
    width: int,
    states: int,
    seed: int = 0,
    device: str = "cpu",
) -> ScanInputs:
    """Inputs of the size a trained Vim feeds its scan: timescales around 0.01 to 0.1, A = -(1..N)."""
    generator = torch.Generator(device).manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=device)

    tokens = (directions, batch, length)
    return ScanInputs(
        u=normal(*tokens, width),
        delta=normal(*tokens, width) - 3,
        A=-torch.arange(1.0, states + 1, device=device).repeat(directions, width, 1),
        B=normal(*tokens, states),
        C=normal(*tokens, states),
        D=normal(directions, width),
        z=normal(batch, length, width),
        delta_bias=normal(directions, width),
    )


def loop_scan(inputs: ScanInputs, reverse: tuple[bool, ...]) -> np.ndarray:
    """The sum over directions in fp64 NumPy, token by token: what the kernels' error is measured against."""
    u, delta, A, B, C, D, z, bias = (np.asarray(part, dtype=np.float64) for part in inputs[:8])
    total = np.zeros(u.shape[1:])
    for k, backwards in enumerate(reverse):
        step = np.logaddexp(0, delta[k] + bias[k])
        state = np.zeros((*u.shape[1::2], A.shape[-1]))
        for t in range(u.shape[2])[:: -1 if backwards else 1]:
            drive = (step[:, t] * u[k, :, t])[..., None] * B[k, :, t, None]
            state = np.exp(step[:, t, :, None] * A[k]) * state + drive
            total[:, t] += (state * C[k, :, t, None]).sum(axis=-1) + D[k] * u[k, :, t]
    return total * z / (1 + np.exp(-z))


def _best(run: Callable[[], object], repeats: int) -> float:
    """Seconds of the quickest run, after one that is not counted: at least `repeats` runs and `SECONDS` of them.

    Short runs are so repeated more often, and all have the same chance to find the machine at rest.
    """
    run()
    found, begun, count = float("inf"), time.perf_counter(), 0
    while count < repeats or (repeats > 1 and time.perf_counter() - begun < SECONDS):
        start = time.perf_counter()
        run()
        found = min(found, time.perf_counter() - start)
        count += 1
    return found


def _scan(inputs: ScanInputs, kernel: str) -> Tensor:
    *plain, carry = inputs
    reverse = BOTH[: inputs.u.shape[0]]
    return selective_scan(*plain, reverse=reverse, carry=carry, kernel=kernel).y  # type: ignore[arg-type]


def _scan_rows(sizes: Sizes) -> Iterator[KernelRow]:
    inputs = random_inputs(1, sizes.batch, sizes.length, sizes.inner, sizes.states)
    updates = inputs.u.numel() * sizes.states
    floats = torch.randn(updates)
    out = torch.empty_like(floats)
    exponential = _best(lambda: torch.exp(floats, out=out), sizes.repeats)
    fast = _best(lambda: _scan(inputs, "cpu"), sizes.repeats)
    slow = _best(lambda: _scan(inputs, "reference"), sizes.repeats)
    shape = f"one direction of ({sizes.batch}, {sizes.length}, {sizes.inner}, {sizes.states})"
    yield KernelRow(
        "torch.exp of as many floats",
        exponential * 1e3,
        "ms",
        f"{updates / 1e6:.1f} M floats, one each update",
    )
    yield KernelRow("scan, reference", slow * 1e3, "ms", shape)
    yield KernelRow("scan, cpu", fast * 1e3, "ms", shape)
    yield KernelRow("scan, cpu: rate", updates / fast / 1e9, "G updates/s")
    yield KernelRow("scan, cpu: speed-up", slow / fast, "x", "over reference")
    yield KernelRow("scan, cpu: time over torch.exp", fast / exponential, "x")


def _accuracy_rows() -> Iterator[KernelRow]:
    errors = {"cpu": 0.0, "reference": 0.0}
    for length in (1, 2, 17, 100, 197, 200):
        inputs = random_inputs(2, 2, length, 48, 16, seed=length)
        wanted = loop_scan(inputs, BOTH)
        for kernel in errors:
            error = np.abs(_scan(inputs, kernel).numpy() - wanted).max() / np.abs(wanted).max()
            errors[kernel] = max(errors[kernel], float(error))
    for kernel, error in errors.items():
        yield KernelRow(f"error of {kernel}", error, "of the largest", "a loop in fp64")


def _gradient_rows() -> Iterator[KernelRow]:
    inputs = random_inputs(2, 2, 64, 48, 16)._replace(carry=None)

    def gradients(kernel: str, dtype: torch.dtype) -> list[Tensor]:
        leaves = inputs.map(lambda tensor: tensor.to(dtype).requires_grad_())
        wanted = [leaf for leaf in leaves if leaf is not None]
        return list(torch.autograd.grad(_scan(leaves, kernel).square().sum(), wanted))

    pairs = zip(gradients("cpu", torch.float32), gradients("reference", torch.float64), strict=True)
    error = max(float((found - wanted).abs().max() / wanted.abs().max()) for found, wanted in pairs)
    yield KernelRow("error of cpu's gradients", error, "of the largest", "autograd in fp64")


def _stack_rows(sizes: Sizes) -> Iterator[KernelRow]:
    """A stack of blocks against its floor: its matrix products at torch's best rate, and its scans."""
    blocks = nn.ModuleList(
        Block(sizes.dim, BidirectionalMixer(sizes.dim, sizes.states)) for _ in range(sizes.depth)
    )
    tokens = new_sequence(
        torch.randn(sizes.stack_batch, sizes.length, sizes.dim),
        [sizes.length // 2],
        (1, 1, sizes.length - 1),
    )

    def run() -> TokenSequence:
        after = tokens
        for block in blocks:
            after = block(after)
        return after

    whole = _best(run, sizes.repeats)
    square = torch.randn(sizes.matrix, sizes.matrix)
    rate = 2 * sizes.matrix**3 / _best(lambda: square @ square, sizes.repeats)
    products, flops = _products(sizes)
    scan_inputs = random_inputs(2, sizes.stack_batch, sizes.length, sizes.inner, sizes.states)
    scans = sizes.depth * _best(lambda: _scan(scan_inputs, "cpu"), sizes.repeats)
    gemm_floor, actual = sizes.depth * flops / rate, sizes.depth * products
    elementwise = sizes.depth * _elementwise(sizes)
    shape = f"{sizes.depth} blocks of width {sizes.dim}, {sizes.stack_batch} images of {sizes.length} tokens"
    yield KernelRow("stack of blocks", whole * 1e3, "ms", shape)
    yield KernelRow(
        "stack: throughput",
        sizes.stack_batch / whole,
        "images/s",
        "without patch embedding and head",
    )
    yield KernelRow(
        "stack: matmul yardstick",
        rate / 1e9,
        "GFLOP/s",
        f"torch.matmul of {sizes.matrix} x {sizes.matrix}",
    )
    yield KernelRow(
        "stack: linear layers' rate", flops / products / 1e9, "GFLOP/s", "at the stack's own shapes"
    )
    yield KernelRow(
        "stack: floor",
        (gemm_floor + scans) * 1e3,
        "ms",
        "linear layers at the yardstick + scans alone",
    )
    yield KernelRow("stack: floor over time", (gemm_floor + scans) / whole, "x")
    yield KernelRow(
        "stack: linear layers", actual * 1e3, "ms", f"{sizes.depth * flops / 1e9:.1f} GFLOP"
    )
    yield KernelRow("stack: scans", scans * 1e3, "ms", "timed alone")
    yield KernelRow("stack: convolution and norm", elementwise * 1e3, "ms", "timed alone")


def _products(sizes: Sizes) -> tuple[float, float]:
    """Seconds and FLOPs of one block's linear layers outside the scan (the timescale's projection is inside it)."""
    rank = -(-sizes.dim // 16)
    layers = (
        (sizes.dim, 2 * sizes.inner, 1),
        (sizes.inner, rank + 2 * sizes.states, 2),
        (sizes.inner, sizes.dim, 1),
    )
    rows = sizes.stack_batch * sizes.length
    seconds, flops = 0.0, 2.0 * 2 * rows * rank * sizes.inner
    for inputs, outputs, times in layers:
        x, weight = torch.randn(rows, inputs), torch.randn(outputs, inputs)
        seconds += times * _timed_linear(x, weight, sizes.repeats)
        flops += times * 2.0 * rows * inputs * outputs
    return seconds, flops


def _timed_linear(x: Tensor, weight: Tensor, repeats: int) -> float:
    return _best(lambda: batch_invariant.linear(x, weight, fast=True), repeats)


def _elementwise(sizes: Sizes) -> float:
    """Seconds of one block's convolutions and of its addition and norm."""
    xz = torch.randn(sizes.stack_batch, sizes.length, 2 * sizes.inner)
    taps, bias = torch.randn(2, 4, sizes.inner), torch.randn(2, sizes.inner)
    tokens, weight = (
        torch.randn(2, sizes.stack_batch, sizes.length, sizes.dim),
        torch.ones(sizes.dim),
    )
    conv = _best(lambda: convolve(xz[..., : sizes.inner], taps, bias, 0b10), sizes.repeats)
    return conv + _best(lambda: add_norm(tokens[0], tokens[1], weight, 1e-5), sizes.repeats)

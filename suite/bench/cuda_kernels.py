"""How fast and how exact the scan kernels are on a GPU, each time beside the least it could be.

The floor is the largest of three times: the bytes that must be moved over the measured copy rate,
the exponentials over the measured rate of exponentials, the multiply-adds over theirs. Every input
is read once and every output written once; per state and token there is one exponential and four
multiply-adds, two of the special function unit's operations for a softplus and two for a gate. With
gradients the states are computed once more, and nine multiply-adds join the four.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from rich.table import Table
from torch import Tensor

from backbones.common.errors import UserError
from backbones.scan import ScanInputs, chosen, selective_scan
from backbones.scan.reference import reference_scan
from suite.bench.ceilings import Ceilings, cuda_seconds, measure_ceilings
from suite.bench.cuda_graphs import captured
from suite.bench.kernels import random_inputs

BOTH = (False, True)
KERNELS = ("reference", "mamba_ssm", "triton")
OWN_LAYOUT = "mamba_ssm, its own layout"
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
IN_DTYPE = ("u", "delta", "B", "C", "z")


@dataclass(frozen=True)
class ScanShape:
    """The scan of one block of a backbone, both directions."""

    name: str
    batch: int
    width: int
    states: int
    length: int = 197


SHAPES = (
    ScanShape("Vim-T", 128, 384, 16),
    ScanShape("Vim-S", 128, 768, 16),
    ScanShape("Vim-B", 128, 1536, 16),
    ScanShape("vim_nano", 512, 128, 8),
)


@dataclass(frozen=True)
class ScanRow:
    """One kernel on one shape: its time, and the three times of which the largest is the floor."""

    shape: str
    dtype: str
    gradients: bool
    kernel: str
    milliseconds: float
    bytes_milliseconds: float
    exponentials_milliseconds: float
    multiply_adds_milliseconds: float
    error: float

    @property
    def floor(self) -> float:
        """The least milliseconds it could take."""
        return max(
            self.bytes_milliseconds, self.exponentials_milliseconds, self.multiply_adds_milliseconds
        )

    @property
    def share_of_floor(self) -> float:
        """Floor over time: 1 is a kernel that cannot be faster."""
        return self.floor / self.milliseconds


@dataclass(frozen=True)
class CudaKernels:
    """The device's ceilings and every row measured against them."""

    device: str
    ceilings: Ceilings
    rows: list[ScanRow]


def measure_cuda(shapes: tuple[ScanShape, ...] = SHAPES) -> CudaKernels:
    """Measure every kernel that serves here on the present CUDA device; UserError if a kernel is wrong."""
    ceilings = measure_ceilings()
    rows = [row for shape in shapes for name in DTYPES for row in _rows(shape, name, ceilings)]
    return CudaKernels(torch.cuda.get_device_name(), ceilings, rows)


def work(shape: ScanShape, size: int, gradients: bool) -> tuple[float, float, float]:
    """Bytes, exponentials and multiply-adds of both directions, for tensors of `size` bytes a number."""
    tokens = 2 * shape.batch * shape.length
    channels, projections = tokens * shape.width, tokens * shape.states
    updates = channels * shape.states
    moved = (
        2 + 1
    ) * channels + 2 * projections  # u and delta; z and y, shared by the directions; B and C
    special = updates + 2 * channels + channels
    if not gradients:
        return size * moved, special, 4 * updates
    back = (
        (4 + 1.5) * channels + 4 * projections
    )  # u, delta and their gradients; z, dz and dy; B, C and their gradients
    return size * (moved + back), 2 * special, (4 + 13) * updates


def _rows(shape: ScanShape, dtype: str, ceilings: Ceilings) -> Iterator[ScanRow]:
    inputs = cuda_inputs(shape, DTYPES[dtype])
    small = cuda_inputs(
        ScanShape(shape.name, 2, shape.width, shape.states, shape.length), DTYPES[dtype]
    )
    for kernel in (*KERNELS, OWN_LAYOUT):
        try:
            chosen(kernel.partition(",")[0], "cuda", DTYPES[dtype])
        except UserError as error:
            if "wrong" in str(error):
                raise
            continue
        slow = (
            kernel == "reference"
        )  # whose thousands of launches a graph would hold in memory twice
        for gradients in (False, True):
            torch.cuda.empty_cache()
            run = _run(kernel, gradients)
            seconds = (
                cuda_seconds(partial(run, inputs), 3, 1)
                if slow
                else cuda_seconds(captured(run, inputs), 30)
            )
            off = _error(run(small), _run("exact", gradients)(small))
            least = ceilings.seconds(*work(shape, inputs.u.element_size(), gradients))
            moved, special, fma = (1e3 * part for part in least)
            yield ScanRow(
                shape.name, dtype, gradients, kernel, 1e3 * seconds, moved, special, fma, off
            )


def _run(kernel: str, gradients: bool) -> Callable[[ScanInputs], list[Tensor]]:
    """What is timed: y, or y and the gradients of its weighed sum."""

    def forward(inputs: ScanInputs) -> Tensor:
        *plain, carry = inputs
        if kernel == "exact":
            return reference_scan(inputs.map(lambda part: part.double()), BOTH, False).y
        if kernel == OWN_LAYOUT:
            return _own_layout(inputs)
        found = selective_scan(*plain, reverse=BOTH, carry=carry, kernel=kernel, mean=False)  # type: ignore[arg-type]
        return found.y

    def both(inputs: ScanInputs) -> list[Tensor]:
        leaves = inputs.map(lambda part: part.detach().requires_grad_())
        y = forward(leaves)
        wanted = [leaf for leaf in leaves if leaf is not None]
        return [y.detach(), *torch.autograd.grad(y, wanted, torch.ones_like(y))]

    def alone(inputs: ScanInputs) -> list[Tensor]:
        with torch.no_grad():
            return [forward(inputs)]

    return both if gradients else alone


def _own_layout(inputs: ScanInputs) -> Tensor:
    """Two calls of the stock kernel on tensors that are laid out as it wants them, the second one's output flipped.

    What it costs a model whose activations are (B, E, L) throughout, like that of Vim's authors.
    The values are those of tensors read in another order: only the time means anything.
    """
    from backbones.scan.stock import scan_function

    def laid_out(tokens: Tensor) -> Tensor:
        return tokens.reshape(tokens.shape[0], tokens.shape[2], tokens.shape[1])

    assert inputs.D is not None
    assert inputs.z is not None
    assert inputs.delta_bias is not None
    outputs = [
        scan_function()(
            *(laid_out(part) for part in (inputs.u[k], inputs.delta[k])),
            inputs.A[k],
            *(laid_out(part) for part in (inputs.B[k], inputs.C[k])),
            inputs.D[k],
            laid_out(inputs.z),
            inputs.delta_bias[k],
            True,
        )
        for k in range(2)
    ]
    total: Tensor = outputs[0] + outputs[1].flip(-1)
    return total


def cuda_inputs(shape: ScanShape, dtype: torch.dtype) -> ScanInputs:
    """Random inputs of that shape, tensors of tokens in `dtype`."""
    inputs = random_inputs(2, shape.batch, shape.length, shape.width, shape.states, device="cuda")
    return inputs._replace(**{name: getattr(inputs, name).to(dtype) for name in IN_DTYPE})


def _error(found: list[Tensor], wanted: list[Tensor]) -> float:
    """Largest error of any tensor over its largest value; nan where the shapes say that it is another function."""
    pairs = zip(found, wanted, strict=True)
    if any(one.shape != other.shape for one, other in zip(found, wanted, strict=True)):
        return float("nan")
    return max(
        float((one.double() - other).abs().max() / other.abs().max()) for one, other in pairs
    )


def table(found: CudaKernels) -> Table:
    """The rows for a terminal, the ceilings in the title."""
    ceilings = found.ceilings
    rates = (
        f"copy {ceilings.bytes / 1e12:.2f} TB/s, {ceilings.exponentials / 1e12:.2f} T exponentials/s, "
        f"{ceilings.multiply_adds / 1e12:.1f} T multiply-adds/s"
    )
    shown = Table(title=f"Scan kernels, both directions, {found.device}: {rates}")
    for head in ("shape", "dtype", "pass", "kernel"):
        shown.add_column(head)
    for head in ("ms", "bytes ms", "exp ms", "fma ms", "floor/time", "error"):
        shown.add_column(head, justify="right")
    for row in found.rows:
        shown.add_row(
            row.shape,
            row.dtype,
            "both ways" if row.gradients else "forward",
            row.kernel,
            f"{row.milliseconds:.3f}",
            f"{row.bytes_milliseconds:.3f}",
            f"{row.exponentials_milliseconds:.3f}",
            f"{row.multiply_adds_milliseconds:.3f}",
            f"{row.share_of_floor:.2f}",
            f"{row.error:.1e}",
        )
    return shown

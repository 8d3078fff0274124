"""Speed and error of the scan kernels on a GPU, each time beside the least it could be.

The floor is that of `suite.bench.limits`: the largest of three times.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from statistics import median
from typing import NamedTuple

import torch
from rich.table import Table
from torch import Tensor

from backbones import ssd
from backbones.common.errors import UserError
from backbones.scan import ScanInputs, chosen
from suite.bench.cuda_graphs import captured
from suite.bench.limits import Ceilings, ScanShape, work
from suite.bench.scan_inputs import (
    exact_results,
    largest_error,
    random_inputs,
    results,
    scan,
)
from suite.bench.tables import figures_table
from suite.bench.timing import seconds
from suite.system.hardware import DTYPES

KERNELS = ("reference", "mamba_ssm", "triton")
OWN_LAYOUT = "mamba_ssm, its own layout"
PRECISIONS = ("bf16", "fp32")
# A, D and the bias are parameters, which stay in fp32
IN_DTYPE = ("u", "delta", "B", "C", "z")


SHAPES = (
    ScanShape("Vim-T", 128, 384, 16),
    ScanShape("Vim-S", 128, 768, 16),
    ScanShape("Vim-B", 128, 1536, 16),
    ScanShape("vim_nano", 512, 128, 8),
)


class ScanRow(NamedTuple):
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
    def passes(self) -> str:
        """Which passes are timed."""
        return "both ways" if self.gradients else "forward"

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


def measure_cuda_kernels(
    ceilings: Ceilings, shapes: tuple[ScanShape, ...] = SHAPES
) -> list[ScanRow]:
    """Measure every kernel that can run on the CUDA device; UserError if a kernel is wrong."""
    rows: list[ScanRow] = []
    for shape in shapes:
        for precision in PRECISIONS:
            rows += _rows(shape, precision, ceilings)
    return rows


def obstacle(kernel: str, dtype: torch.dtype, headed: bool = False, device: str = "cuda") -> str:
    """Why the kernel cannot run on the device, empty if it can; UserError if it runs and is wrong.

    `headed`: the scan is Mamba-2's.
    """
    choose = ssd.chosen if headed else chosen
    try:
        choose(kernel, device, dtype)
    except UserError as error:
        # an absent kernel is left out of a table, a wrong one must not be passed over
        if "wrong" in str(error):
            raise
        return str(error)
    return ""


def cuda_inputs(shape: ScanShape, dtype: torch.dtype) -> ScanInputs:
    """Random inputs of that shape, the tensors of tokens in `dtype`."""
    inputs = random_inputs(2, shape.batch, shape.length, shape.width, shape.states, device="cuda")
    return inputs._replace(**{name: getattr(inputs, name).to(dtype) for name in IN_DTYPE})


def _rows(shape: ScanShape, precision: str, ceilings: Ceilings) -> Iterator[ScanRow]:
    dtype = DTYPES[precision]
    inputs = cuda_inputs(shape, dtype)
    # errors on two images, since the exact scan is a loop in fp64
    small = cuda_inputs(ScanShape(shape.name, 2, shape.width, shape.states, shape.length), dtype)
    for kernel in (*KERNELS, OWN_LAYOUT):
        if obstacle(kernel.partition(",")[0], dtype):
            continue
        forward = own_layout_scan if kernel == OWN_LAYOUT else partial(scan, kernel=kernel)
        for gradients in (False, True):
            torch.cuda.empty_cache()  # the graph of the row before
            run = partial(results, forward, gradients=gradients)
            # no graph of the reference: it would hold thousands of launches twice in memory
            launched = partial(run, inputs) if kernel == "reference" else captured(run, inputs)
            time = seconds(launched, "cuda")
            error = float("nan")  # in its own layout it scans tokens in another order
            if kernel != OWN_LAYOUT:
                error = largest_error(run(small), exact_results(small, gradients))
            least = ceilings.seconds(*work(shape, inputs.u.element_size(), gradients))
            moved, special, fma = (1e3 * part for part in least)
            yield ScanRow(
                shape.name, precision, gradients, kernel, 1e3 * time, moved, special, fma, error
            )


def own_layout_scan(inputs: ScanInputs) -> Tensor:
    """Two calls of mamba_ssm's kernel on tensors in its own layout, the second output flipped.

    The cost to a model whose activations are (B, E, L) throughout, as those of Vim's authors. The
    values are those of tensors read in another order: only the time means anything.
    """
    # imports mamba_ssm, which is optional
    from backbones.scan.stock import scan_function

    def laid_out(tokens: Tensor) -> Tensor:
        return tokens.reshape(tokens.shape[0], tokens.shape[2], tokens.shape[1])

    u, delta, A, B, C, D, z, bias, _ = inputs
    assert D is not None
    assert z is not None
    assert bias is not None
    outputs = []
    for k in range(2):
        tokens = [laid_out(tensor[k]) for tensor in (u, delta, B, C)]
        # the second direction is not flipped first: the time is the same
        outputs.append(
            scan_function()(*tokens[:2], A[k], *tokens[2:], D[k], laid_out(z), bias[k], True)
        )
    total: Tensor = outputs[0] + outputs[1].flip(-1)
    return total


def answer(rows: list[ScanRow]) -> str:
    """How near the suite's kernel comes to what the device allows, in a line."""
    shares = [row.share_of_floor for row in rows if row.kernel == "triton"]
    if not shares:
        return ""
    return (
        f"The kernel `triton` runs at {100 * min(shares):.0f} to {100 * max(shares):.0f} % of the "
        f"speed that this GPU's limits allow, {100 * median(shares):.0f} % in the median."
    )


def table(rows: list[ScanRow], ceilings: Ceilings, device: str) -> Table:
    """The rows for a terminal, the ceilings of the device in the title."""
    rates = (
        f"copy {ceilings.bytes / 1e12:.2f} TB/s, {ceilings.exponentials / 1e12:.2f} T "
        f"exponentials/s, {ceilings.multiply_adds / 1e12:.1f} T multiply-adds/s"
    )
    title = f"Scan kernels, both directions, {device}: {rates}"
    columns = {
        "shape": "{row.shape}",
        "dtype": "{row.dtype}",
        "pass": "{row.passes}",
        "kernel": "{row.kernel}",
        "ms": "{row.milliseconds:.3f}",
        "bytes ms": "{row.bytes_milliseconds:.3f}",
        "exp ms": "{row.exponentials_milliseconds:.3f}",
        "fma ms": "{row.multiply_adds_milliseconds:.3f}",
        "floor/time": "{row.share_of_floor:.2f}",
        "error": "{row.error:.1e}",
    }
    return figures_table(title, rows, columns, names=4)

"""The least time of a whole pass, term by term, beside the time that each term takes.

Products run at the rate that torch.matmul reaches in their own shapes; scans at the largest of
their three floors (`suite.bench.limits`); what is between them moves its bytes at the rate of a
copy. Products, scans and bytes are recorded of the model (`suite.flops.traffic`). The time beside a
term is that of the operators, on a GPU the kernels, of its kind (`suite.bench.time_breakdown`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import NamedTuple

import torch

from backbones import without_weights
from suite.bench.limits import Ceilings, ScanShape, measure_cpu_ceilings, work
from suite.bench.time_breakdown import kind_of
from suite.bench.timing import seconds
from suite.flops.counters import UnknownOperatorError
from suite.flops.traffic import Product, Traffic, traffic
from suite.system.hardware import DTYPES

PRODUCTS, SCANS, ELSE, WAITING = "matrix products", "scans", "everything else", "waiting"
KINDS = {"gemm": PRODUCTS, "scan": SCANS, "elementwise": ELSE}


class Term(NamedTuple):
    """One term of a pass: the least milliseconds it could take, and those that it takes."""

    name: str
    floor_ms: float
    ms: float

    @property
    def share(self) -> float:
        """Floor over time: 1 is a term that cannot be faster, 0 one that need not be there."""
        return self.floor_ms / self.ms if self.ms else 0.0


def traffic_of(name: str, batch: int, precision: str) -> Traffic:
    """What a dense pass of the backbone `name` over `batch` images needs.

    As `suite.flops.traffic.traffic`; NotImplementedError, too, for a backbone without scans.
    """
    dtype = DTYPES[precision]
    model = without_weights(name).cast(dtype)
    for mixer in model.mixers():
        # the plain path is what a counter sees
        mixer.kernel = "reference"
    frames = (model.frames,) if model.frames > 1 else ()
    size = (batch, 3, *frames, model.image_size, model.image_size)
    needed = traffic(lambda: model(torch.empty(size, dtype=dtype, device="meta")))
    if not needed.scans:
        raise NotImplementedError("a fused attention never writes what is between its products")
    return needed


def floors(needed: Traffic, precision: str, device: str, limits: Ceilings) -> dict[str, float]:
    """The least seconds of each term; products are measured now."""
    size = DTYPES[precision].itemsize
    products = sum(
        count * product_seconds(product, precision, device)
        for product, count in needed.products.items()
    )
    scans = 0.0
    for scan, count in needed.scans.items():
        shape = ScanShape("", **scan._asdict())
        scans += count * max(limits.seconds(*work(shape, size, gradients=False)))
    return {PRODUCTS: products, SCANS: scans, ELSE: needed.bytes / limits.bytes, WAITING: 0.0}


def terms(least: Mapping[str, float], by_name: Mapping[str, float], whole: float) -> list[Term]:
    """The terms of a pass of `whole` seconds, from the seconds of its kernels or operators.

    What these do not fill is waiting.
    """
    taken = dict.fromkeys(least, 0.0)
    for name, time in by_name.items():
        taken[KINDS[kind_of(name)]] += time
    taken[WAITING] = max(0.0, whole - sum(taken.values()))
    return [Term(name, 1e3 * floor, 1e3 * taken[name]) for name, floor in least.items()]


@cache
def product_seconds(product: Product, precision: str, device: str) -> float:
    """Seconds of torch.matmul in this shape, with random values."""
    dtype = DTYPES[precision]
    left = torch.randn(product.batch, product.rows, product.inner).to(device, dtype)
    right = torch.randn(product.batch, product.inner, product.columns).to(device, dtype)
    # one product is not made as a batch of one, which may take another kernel
    if product.batch == 1:
        left, right = left[0], right[0]
    with torch.inference_mode():
        return seconds(lambda: torch.matmul(left, right), device)


@cache
def measured_limits(device: str) -> Ceilings:
    """The highest rates of the device, measured once."""
    if device == "cpu":
        return measure_cpu_ceilings()
    from suite.bench.ceilings import measure_ceilings

    return measure_ceilings()


def floor_of(
    name: str, batch: int, precision: str, device: str, notify: Callable[[str], None]
) -> dict[str, float]:
    """`floors` of a dense pass; none, and a line that says why, where no floor is known."""
    try:
        needed = traffic_of(name, batch, precision)
    except (NotImplementedError, UnknownOperatorError) as error:
        notify(f"{name}: no floor, {error}")
        return {}
    return floors(needed, precision, device, measured_limits(device))

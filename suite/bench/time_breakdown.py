"""What the time of a forward pass goes to: scan, matrix products, elementwise work, the method's own work, the rest.

PyTorch's profiler times every operator (on a GPU, every kernel) of one pass; its name says which
kind of work it is. The compiled kernels of the CPU are no operators and are marked for the profiler
while it looks. The reducers' own work is profiled on the tokens that they really met, and taken out
of the kinds that it is made of.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from torch.autograd.profiler import record_function
from torch.profiler import ProfilerActivity, profile

from backbones.base import Backbone, Reducer
from backbones.sequence import TokenSequence

os.environ.setdefault(
    "KINETO_LOG_LEVEL", "99"
)  # else it complains on stderr of a GPU that is not there
PASSES = 3
KINDS = ("scan", "gemm", "elementwise", "reduction", "rest")
MARKED = {
    "backbones.scan.cpu:cpu_scan": "suite::scan",
    "backbones.scan.cpu_conv:convolve": "suite::convolve",
    "backbones.scan.cpu_norm:add_norm": "suite::add_norm",
}
# Parts of the names of operators and kernels, in lower case; the first kind that has one is the
# work's.
WORDS = {
    "scan": ("scan",),
    "gemm": (
        "gemm", "linear", "mm", "matmul", "::mv", "gemv", "dot", "attention", "flash", "fmha", "cutlass", "nvjet",
        "xmma", "splitk", "mkldnn_convolution", "conv2d", "implicit_convolve",
    ),
}  # fmt: skip


def kind_of(name: str) -> str:
    """scan, gemm or elementwise, by the name of an operator or kernel; a depthwise convolution is elementwise."""
    lower = name.lower()
    return next(
        (kind for kind, words in WORDS.items() if any(word in lower for word in words)),
        "elementwise",
    )


def shares(model: Backbone, images: Tensor, plan: Mapping[int, Reducer]) -> dict[str, float]:
    """Share of the time of one pass that goes to each of `KINDS`, together 1.

    ``rest`` is what no operator accounts for: Python, and on a GPU the waiting between kernels. Measured apart from the
    timing, since looking costs time.
    """
    met: list[tuple[Reducer, TokenSequence]] = []
    watched = {site: _Witness(reducer, met) for site, reducer in plan.items()}

    def forward() -> None:
        model.readout(model.run(model.embed(images), plan=plan))

    model.readout(model.run(model.embed(images), plan=watched))
    spent, wall = profiled(forward, images.device.type)
    own, _ = profiled(lambda: [reducer(tokens) for reducer, tokens in met], images.device.type)
    found = {kind: max(0.0, spent.get(kind, 0.0) - own.get(kind, 0.0)) for kind in KINDS}
    found["reduction"] = sum(own.values())
    found["rest"] = max(0.0, wall - sum(found.values()))
    whole = sum(found.values())
    return {kind: value / whole for kind, value in found.items()}


class _Witness:
    """A reducer that keeps what it was given."""

    def __init__(self, reducer: Reducer, met: list[tuple[Reducer, TokenSequence]]) -> None:
        self.reducer, self.met, self.needs = reducer, met, reducer.needs

    def __call__(self, tokens: TokenSequence) -> TokenSequence:
        self.met.append((self.reducer, tokens))
        return self.reducer(tokens)


def profiled(run: Callable[[], object], device: str) -> tuple[dict[str, float], float]:
    """Seconds of each kind of work in `PASSES` runs, and of the whole; after one that is not counted."""
    run()
    on_gpu = device == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with marked(), profile(activities=activities) as seen:
        _wait(on_gpu)
        started = time.perf_counter()
        for _ in range(PASSES):
            run()
        _wait(on_gpu)
        wall = time.perf_counter() - started
    spent: dict[str, float] = {}
    for event in seen.key_averages():
        kernel = str(event.device_type).endswith("CUDA")
        if kernel != on_gpu:
            continue
        seconds = (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1e6
        kind = kind_of(event.key)
        spent[kind] = spent.get(kind, 0.0) + seconds
    return spent, wall


def _wait(on_gpu: bool) -> None:
    if on_gpu:
        torch.cuda.synchronize()


@contextmanager
def marked() -> Iterator[None]:
    """The compiled kernels bear a name that the profiler sees, for the time of the block."""
    before: list[tuple[Any, str, Any]] = []
    for place, label in MARKED.items():
        module_name, name = place.split(":")
        module = import_module(module_name)
        before.append((module, name, getattr(module, name)))
        setattr(module, name, _named(getattr(module, name), label))
    try:
        yield
    finally:
        for module, name, function in before:
            setattr(module, name, function)


def _named(function: Callable[..., Any], label: str) -> Callable[..., Any]:
    def run(*given: Any, **named: Any) -> Any:
        with record_function(label):
            return function(*given, **named)

    return run

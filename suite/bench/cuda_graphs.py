"""A computation of fixed shapes as a CUDA graph, replayed without the host between its kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

Input = TypeVar("Input")
Output = TypeVar("Output")
WARM_UPS = 2


def captured(run: Callable[[Input], Output], inputs: Input) -> Callable[[], Output]:
    """A function that repeats `run(inputs)` and returns its output, always in the same memory.

    To run on other inputs, copy them into the tensors of `inputs` before a call. `run` must not
    wait for the GPU; only its kernels are repeated, not its Python code.
    """
    # on another stream, as PyTorch requires: capturing must not see what the present one still does
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UPS):  # compiles kernels, checks them, lets libraries allocate
            run(inputs)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = run(inputs)

    def replay() -> Output:
        graph.replay()
        return output

    return replay

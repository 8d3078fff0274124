"""A computation of fixed shapes recorded once as a CUDA graph, and replayed without the host between its kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

Given = TypeVar("Given")
Made = TypeVar("Made")
WARM_UPS = 2


def captured(run: Callable[[Given], Made], given: Given) -> Callable[[], Made]:
    """A function that repeats `run(given)` and returns what it makes, in the same memory every time.

    Another input is copied into the tensors of `given` before a call. What `run` does may not wait
    for the GPU, and nothing of it but kernels is repeated.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UPS):  # compiles kernels, checks them, lets libraries allocate
            run(given)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        made = run(given)

    def replay() -> Made:
        graph.replay()
        return made

    return replay

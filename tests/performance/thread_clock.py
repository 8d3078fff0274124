"""Times of this thread alone, which other processes do not lengthen."""

import time
from collections.abc import Callable


def best(call: Callable[[], object]) -> float:
    """The least seconds of this thread in 20 calls, after one to warm up."""
    call()
    times: list[float] = []
    for _ in range(20):
        begun = time.thread_time()
        call()
        times.append(time.thread_time() - begun)
    return min(times)

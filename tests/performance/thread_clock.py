"""Times of this thread alone, which other processes do not lengthen."""

import time
from collections.abc import Callable


def best(call: Callable[[], object], calls: int = 20) -> float:
    """The least seconds of this thread in so many calls, after one to warm up."""
    call()
    times: list[float] = []
    for _ in range(calls):
        begun = time.thread_time()
        call()
        times.append(time.thread_time() - begun)
    return min(times)

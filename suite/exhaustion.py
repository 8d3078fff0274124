"""Running out of memory: how it is told from other errors, and what is done about it.

Nothing here needs PyTorch, since its error is known by its name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")
DEAD = ("illegal memory access", "device-side assert", "unspecified launch failure", "misaligned address")


class DeviceLostError(Exception):
    """The device takes no more work in this process; `reasons` of the cells that were on it, by key."""

    def __init__(self, reasons: dict[str, str]) -> None:
        super().__init__(next(iter(reasons.values()), ""))
        self.reasons = reasons


def context_is_dead(error: BaseException) -> bool:
    """Whether `error` says that nothing can run on the device any more, whatever it is called."""
    return any(sign in str(error) for sign in DEAD)


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` is a lack of memory, of the host or of a device, after which less may still fit."""
    if context_is_dead(error):
        return False
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def with_less(batch: int, action: Callable[[int], Result], told: str) -> tuple[Result, int]:
    """What `action(batch)` gives, with half the batch as often as memory runs out, and the batch that it took.

    `told` says on standard error what is done so. At a batch of one the error is raised.
    """
    while True:
        try:
            return action(batch), batch
        except Exception as error:
            if batch == 1 or not out_of_memory(error):
                raise
        # past the handler, whose traceback would hold the memory
        batch //= 2
        print(f"out of memory: {told} goes on with batch {batch}", file=sys.stderr)

"""Running out of memory: how it is told from other errors, and what is done about it.

Nothing here needs PyTorch, since its errors are known by name and text.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TypeVar

from suite.system.stopped import StoppedError

Result = TypeVar("Result")
LOST = (
    "illegal memory access",
    "device-side assert",
    "unspecified launch failure",
    "misaligned address",
)


class DeviceLostError(StoppedError):
    """The device takes no more work in this process; `reasons` of the cells that were on it, by key."""

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__(reasons)
        self.reasons = reasons

    def __str__(self) -> str:
        why = next(iter(self.reasons.values()), "")
        return f"the device takes no more work ({why}): the same command goes on without the cells that were on it"


def device_is_lost(error: BaseException) -> bool:
    """Whether `error` says that nothing can run on the device any more, whatever it is called."""
    return any(sign in str(error) for sign in LOST)


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` is a lack of memory, of the host or of a device, after which less may still fit."""
    if device_is_lost(error):
        return False
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def with_less(batch: int, action: Callable[[int], Result], told: str) -> tuple[Result, int]:
    """What `action(batch)` gives, with half the batch as often as memory runs out, and the batch that it took.

    It is said on standard error, with `told` for what is done. At a batch of one the error is
    raised.
    """
    while True:
        try:
            return action(batch), batch
        except Exception as error:
            if batch == 1 or not out_of_memory(error):
                raise
        # past the handler, whose traceback held the memory
        batch //= 2
        print(f"out of memory: {told} is done again with batch {batch}", file=sys.stderr)

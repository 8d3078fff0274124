"""Running out of memory: recognise it, and retry with a smaller batch.

Errors of PyTorch are recognised by name and text, so that nothing here imports it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TypeVar

Result = TypeVar("Result")
# After these, every later call to the device fails too, in this process.
LOST = (
    "illegal memory access",
    "device-side assert",
    "unspecified launch failure",
    "misaligned address",
)


class StoppedError(Exception):
    """A run that ends early through no mistake of the user's; the text says how to resume it."""


class DeviceLostError(StoppedError):
    """The device takes no more work in this process; `reasons` of its cells by key."""

    def __init__(self, reasons: Mapping[str, str]) -> None:
        # The argument of the constructor, so that the error can be pickled from a worker.
        super().__init__(reasons)
        self.reasons = reasons

    def __str__(self) -> str:
        why = next(iter(self.reasons.values()), "")
        return (
            f"the device takes no more work ({why}): "
            "run the same command to continue without the cells that were on it"
        )


def device_is_lost(error: BaseException) -> bool:
    """Whether nothing can run on the device any more after `error`."""
    return any(sign in str(error) for sign in LOST)


def out_of_memory(error: BaseException) -> bool:
    """Whether memory of the host or the device ran out, so that less may still fit."""
    if device_is_lost(error):
        return False
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    # PyTorch on a CPU raises no class of its own.
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def with_smaller_batch(
    batch: int, action: Callable[[int], Result], what: str
) -> tuple[Result, int]:
    """Call ``action(batch)``, halving the batch while memory runs out; result and batch used.

    Prints `what` is repeated to standard error. At a batch of one the error is raised.
    """
    while True:
        try:
            return action(batch), batch
        except Exception as error:
            if batch == 1 or not out_of_memory(error):
                raise
        # Outside the handler, where the traceback would keep the memory.
        batch //= 2
        print(f"out of memory: {what} is done again with batch {batch}", file=sys.stderr)

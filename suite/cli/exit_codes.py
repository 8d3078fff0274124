"""Exit codes of commands, and one line on standard error for what the user can fix."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from typing import Any

from backbones.common.errors import UserError, hint, printable
from suite.system.out_of_memory import StoppedError, out_of_memory

# 130 is what a shell reports of a command that Ctrl-C ended.
FAILED, WRONG, INTERRUPTED = 1, 2, 130


def exit_code_of(command: Callable[..., int], *arguments: Any, **values: Any) -> int:
    """Run a command and return its exit code; errors the user can fix become one line.

    0 for success, 1 if a check or a cell failed, 2 for an error that the user can fix, 130 if
    interrupted. Also 1, without a line, if the reader of standard output went away, such as `head`.
    """
    try:
        code = command(*arguments, **values)
        # Here, since an error at exit could not be handled.
        if sys.stdout:  # None where the caller closed it
            sys.stdout.flush()
        return code
    except UserError as error:
        return refuse(printable(str(error)))
    except StoppedError as error:
        print(f"stopped: {printable(str(error))}", file=sys.stderr)
        return FAILED
    except OSError as error:  # a full disk, a folder without permission, a name that is too long
        if isinstance(error, BrokenPipeError) and _reader_went_away():
            # What is still to be flushed at exit would raise the same error again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return FAILED
        where = f"{error.filename}: " if error.filename else ""
        # Printable first, so that a long path does not cut off the hint.
        return refuse(f"{printable(f'{where}{error.strerror or error}')}: {hint(error)}")
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        return refuse("out of memory: lower --batch-size, or free memory, and rerun the command")
    except KeyboardInterrupt:
        print("interrupted: rerun the command to resume", file=sys.stderr)
        return INTERRUPTED


def refuse(message: str) -> int:
    """Print an error that the user can fix; the exit code for it."""
    print(f"error: {message}", file=sys.stderr)
    return WRONG


def _reader_went_away() -> bool:
    """Whether nobody reads standard output any more."""
    # A pipe to a worker or a tracker may break too, which is an error like others.
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):  # replaced, as in a test
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    gone = select.POLLERR | select.POLLHUP
    return any(state & gone for _, state in poll.poll(0))

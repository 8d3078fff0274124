"""What a command comes to: an exit code, and one line for whatever the user can mend."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from typing import Any

from backbones.common.errors import UserError, hint, printable
from suite.system.out_of_memory import StoppedError, out_of_memory


def answer(command: Callable[..., int], *arguments: Any, **values: Any) -> int:
    """The exit code of `command`.

    0 if all is well, 1 if a check or a cell failed, 2 for what the user can mend, 130 if
    interrupted. 1, too, and not a word, where whoever was to read standard output went away, such
    as `head`: what printing tables comes to then.
    """
    try:
        code = command(*arguments, **values)
        sys.stdout.flush()
    except UserError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        code = 2
    except StoppedError as error:
        print(f"stopped: {printable(str(error))}", file=sys.stderr)
        code = 1
    except (
        OSError
    ) as error:  # a full disk, a folder that cannot be written, a name the file system refuses
        if isinstance(error, BrokenPipeError) and _reader_went_away():
            os.dup2(
                os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
            )  # what is still to be flushed goes nowhere
            return 1
        where = f"{error.filename}: " if error.filename else ""
        reason = printable(f"{where}{error.strerror or error}")
        print(f"error: {reason}: {hint(error)}", file=sys.stderr)
        code = 2
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        print(
            "error: out of memory: lower --batch-size, or free memory; the same command goes on",
            file=sys.stderr,
        )
        code = 2
    except KeyboardInterrupt:
        print("interrupted: the same command goes on where it stood", file=sys.stderr)
        code = 130
    return code


def _reader_went_away() -> bool:
    """Whether nobody reads standard output any more; a pipe to a worker or a tracker may break, too."""
    try:
        place = sys.stdout.fileno()
    except (OSError, ValueError):  # in a test, or kept by the caller
        return False
    asked = select.poll()
    asked.register(place, select.POLLOUT)
    return any(state & (select.POLLERR | select.POLLHUP) for _, state in asked.poll(0))

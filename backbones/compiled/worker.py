"""Process that calls one function of a module and ends with its parent; started by `ahead`.

Its standard input is a pipe that nothing is written to, and that closes when the other end dies,
however it dies.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from threading import Thread


def end_with_parent() -> None:
    """End this process at once when its standard input closes."""
    os.read(
        sys.stdin.fileno(), 1
    )  # not through Python's buffer, whose lock would be held when this process ends well
    os._exit(1)


if __name__ == "__main__":
    Thread(target=end_with_parent, daemon=True).start()
    module, maker = sys.argv[1:]
    getattr(import_module(module), maker)()

"""A kernel compiled by a process of its own, while this one still reads weights and images.

The first run of an installation compiles for half a minute, all of it on one core; this lends it the second.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from collections.abc import Callable

_WORKING: dict[str, subprocess.Popen[bytes]] = {}


def compile_ahead(maker: Callable[[], object]) -> None:
    """Have another process compile what `maker` makes into the cache; `awaited` waits for it.

    `maker` is a function of a module that takes nothing. If the process fails, whoever waits compiles by himself.
    """
    module, name = maker.__module__, maker.__name__
    if module in _WORKING or (os.cpu_count() or 1) < 2:
        return
    # The same packages as here, in the same order; -P: not those of the folder that the user stands in.
    line = [sys.executable, "-P", "-c", f"from {module} import {name}; {name}()"]
    places = os.environ | {"PYTHONPATH": os.pathsep.join(place for place in sys.path if place)}
    try:
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=places)  # noqa: S603
    except OSError:
        return
    _WORKING[module] = process
    atexit.register(process.kill)


def awaited(module: str) -> None:
    """Wait for the process that compiles the kernel of `module`, if there is one."""
    process = _WORKING.get(module)
    if process is not None:
        process.wait()

"""Compilation of a kernel in another process, while this one imports torch and reads data.

The first run of an installation compiles for twenty seconds, all of it on one core; this lends it
the second.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from pathlib import Path

from backbones.compiled.cache import is_kept

_ROOT = Path(__file__).parents[2]
_WORKING: dict[str, subprocess.Popen[bytes]] = {}


def compile_ahead(module: str, maker: str) -> None:
    """Let another process compile the kernel of `module` into the cache; returns at once.

    `maker` names its function that makes the kernel and takes nothing; names, so that nothing need
    be imported here. `awaited` waits for the process; if it fails, whoever waits compiles by
    himself.
    """
    source = _ROOT.joinpath(*module.split(".")).with_suffix(".py")
    if module in _WORKING or (os.cpu_count() or 1) < 2 or is_kept(source):
        return
    # The same packages as here, in the same order; -P: not those of the folder that the user stands
    # in.
    line = [sys.executable, "-P", "-m", "backbones.compiled.worker", module, maker]
    places = os.environ | {"PYTHONPATH": os.pathsep.join(place for place in sys.path if place)}
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    try:
        process = subprocess.Popen(line, stdin=pipe, stdout=null, stderr=null, env=places)  # noqa: S603
    except OSError:
        return
    _WORKING[module] = process
    atexit.register(_end, process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    if process.stdin is not None:
        process.stdin.close()


def awaited(module: str) -> None:
    """Wait for the process that compiles the kernel of `module`, if there is one."""
    process = _WORKING.get(module)
    if process is not None:
        process.wait()

"""Where machine code is kept; imports neither numba nor torch, so that looking is fast."""

from __future__ import annotations

import os
import sys
from functools import cache
from hashlib import sha256
from pathlib import Path

from backbones.common.paths import cache_home


def cache_folder(kernels: Path) -> Path | None:
    """A folder named for the sources of `kernels` and of this package; None if not writable."""
    # numba's own choice is beside the source, where an installation may be read-only, and it does
    # not notice a change in another file that a kernel calls into.
    parent = cache_home("NUMBA_CACHE_DIR")
    if parent is None:
        return None
    folder = parent / "mamba-token-suite" / _digest(kernels)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def is_kept(source: Path) -> bool:
    """Whether the kernel that the file `source` makes was compiled before."""
    folder = cache_folder(source.parent)
    return folder is not None and any(folder.glob(f"*/{source.stem}.*.nbi"))


@cache
def _digest(kernels: Path) -> str:
    # The path and the interpreter are part of numba's own index: without them in the hash, files of
    # several installations would collide in one folder.
    digest = sha256(f"{kernels} {sys.version}".encode())
    for folder in (Path(__file__).parent, kernels):
        for source in sorted(folder.glob("*.py")):
            digest.update(source.read_bytes())
    return digest.hexdigest()[:16]

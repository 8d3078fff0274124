"""Where machine code is kept; told without importing what compiles or runs it, which takes longer than to look."""

from __future__ import annotations

import os
import sys
from functools import cache
from hashlib import sha256
from pathlib import Path


def cache_folder(kernels: Path) -> Path | None:
    """A folder named for its sources, those of the folder `kernels` and of this one; None if it cannot be written.

    numba's own place is beside the source, where an installation may be read-only, and it does not
    notice a change in another file that a kernel calls into.
    """
    named = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    folder = Path(named or Path.home() / ".cache") / "mamba-token-suite" / _digest(kernels)
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
    """Hash of what machine code is made of, and of the place and the interpreter that numba knows it by."""
    sources = [
        path for folder in (Path(__file__).parent, kernels) for path in sorted(folder.glob("*.py"))
    ]
    known = f"{kernels} {sys.version}".encode()
    return sha256(b"".join([known, *(source.read_bytes() for source in sources)])).hexdigest()[:16]

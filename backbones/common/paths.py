"""Paths as users write them, and the folder of caches."""

from __future__ import annotations

import os
from pathlib import Path

from backbones.common.errors import UserError, hint


def local_path(text: str) -> Path:
    """The absolute path that `text` names, ``~`` included; UserError if it cannot be used.

    Some libraries would read a relative path as an address (``s3:x``), and take names in UTF-8.
    """
    # Not pathlib's, for which ./~ is the home folder, too.
    expanded = os.path.expanduser(text)
    if expanded.startswith("~"):
        raise UserError(
            f"{text}: there is no such user or home folder: write ./{text} if '~' is part of a name"
        )
    try:
        path = Path(expanded).absolute()
        same = os.fsencode(path) == str(path).encode()
    except UnicodeEncodeError:
        same = False
    except OSError as error:  # the working folder is gone
        raise UserError(f"{text}: {error.strerror}: {hint(error)}") from error
    if not same:
        raise UserError(
            f"{text}: this path is not written in UTF-8, which libraries need: rename it, or, if "
            "only the terminal's encoding is another, set PYTHONUTF8=1"
        )
    if "\0" in str(path):
        raise UserError(f"{text}: a path has no zero byte: leave it out")
    return path


def cache_home(variable: str = "XDG_CACHE_HOME") -> Path | None:
    """The folder of the user's caches: as `variable` says, else ~/.cache; None without a home."""
    named = os.environ.get(variable) or os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(named) if named else Path.home() / ".cache"
    except RuntimeError:
        return None

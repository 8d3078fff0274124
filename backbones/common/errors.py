"""The error that users read, and what makes its text safe to print."""

from __future__ import annotations

import errno
import site
import sys
import sysconfig
import traceback
from pathlib import Path

LONGEST = 800  # characters of a message
NO_SPACE = "free some space, or choose another folder"
NOT_ALLOWED = "allow it, or choose another folder"
FILE_IN_THE_WAY = "a file stands where a folder belongs: choose another folder"
# by the system's error number
HINTS = {
    errno.ENOSPC: NO_SPACE,
    errno.EDQUOT: NO_SPACE,
    errno.EACCES: NOT_ALLOWED,
    errno.EPERM: NOT_ALLOWED,
    errno.EROFS: "choose a folder that can be written",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOENT: "check the path, or choose another folder",
    errno.ENOTDIR: FILE_IN_THE_WAY,
    errno.EEXIST: FILE_IN_THE_WAY,
    errno.EISDIR: "a folder stands where a file belongs: choose another name",
    errno.ELOOP: "a link leads to itself: choose another folder",
}


class UserError(Exception):
    """Unusable input; the message is one line that says what is wrong and how to fix it.

    The command line prints it without a traceback and exits with code 2.
    """

    def __init__(self, message: str) -> None:
        """`message` may quote any input: control characters are shown in ASCII."""
        super().__init__(printable(message))


def hint(error: OSError) -> str:
    """How to fix it when the system refuses a file or a folder."""
    return HINTS.get(error.errno or 0, "choose another folder")


def printable(text: str) -> str:
    """`text` on one line of at most `LONGEST`, with control characters in ASCII."""
    # The end of a long message is kept as well: it says how to fix the error.
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def user_frame(error: BaseException) -> str:
    """File, line and function where third-party code was last active before `error`; or empty.

    Frames of this suite, of the standard library and of the tensor libraries are no such code.
    """
    root, packages = Path(__file__).parents[2], [Path(folder) for folder in site.getsitepackages()]
    libraries = [root / name for name in ("backbones", "methods", "suite", "reports")]
    libraries += [folder / name for folder in packages for name in ("torch", "numpy", "numba")]
    standard = Path(sysconfig.get_path("stdlib"))
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        ours = any(file.is_relative_to(folder) for folder in libraries)
        # installed packages may lie inside the folder of the standard library
        installed = any(file.is_relative_to(folder) for folder in packages)
        if file.is_file() and not ours and (installed or not file.is_relative_to(standard)):
            return f"{file.name}:{frame.lineno}, in {frame.name}"
    return ""


def describe_error(error: BaseException) -> str:
    """Type and message of `error` on one line, with the place in third-party code, if any."""
    message = f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")
    place = user_frame(error)
    return f"{message} ({place})" if place else message


def announce_foreign_code(what: str) -> None:
    """Say on stderr that code that is not the suite's own is about to run."""
    print(f"loading {printable(what)}", file=sys.stderr, flush=True)

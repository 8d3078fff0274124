"""The one error a user is meant to read."""

from __future__ import annotations

import errno
import sys

MENDS = {
    errno.ENOSPC: "free some space, or choose another folder",
    errno.EDQUOT: "free some space, or choose another folder",
    errno.EACCES: "allow it, or choose another folder",
    errno.EPERM: "allow it, or choose another folder",
    errno.EROFS: "choose a folder that can be written",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOENT: "check the path, or choose another folder",
    errno.ENOTDIR: "a file stands where a folder belongs: choose another folder",
    errno.EEXIST: "a file stands where a folder belongs: choose another folder",
    errno.EISDIR: "a folder stands where a file belongs: choose another name",
    errno.ELOOP: "a link leads to itself: choose another folder",
}


LONGEST = 800  # characters of a message


class UserError(Exception):
    """Something the user gave cannot be used; the message is one line that says what and names the mend.

    The command line prints it without a traceback and exits with code 2.
    """

    def __init__(self, message: str) -> None:
        """`message` may quote anything: what would break its line or steer a terminal is shown in ASCII."""
        super().__init__(printable(message))


def mend(error: OSError) -> str:
    """What helps where the system refused a file or a folder."""
    return MENDS.get(error.errno or 0, "choose another folder")


def printable(text: str) -> str:
    """`text` on one line that a terminal only shows: what would steer it, such as escapes in a name, in ASCII.

    Of a long one beginning and end: what is wrong, and the mend.
    """
    text = text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def announce(what: str) -> None:
    """Say on stderr, before it is done, that code which is not the suite's own will run."""
    print(f"loading {printable(what)}", file=sys.stderr, flush=True)

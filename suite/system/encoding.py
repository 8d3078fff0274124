"""Output on terminals whose encoding lacks a sign, such as GBK, Latin-1 or ASCII."""

from __future__ import annotations

import codecs
import io
import sys

# What tables and sentences of the suite are written with; anything else is shown by its number.
SIGNS = {
    "−": "-",
    "±": "+-",
    "×": "x",
    "†": "+",
    "→": "->",
    "…": "...",
    "•": "*",
    "‖": "||",
    "·": "*",
    "≤": "<=",
    "≥": ">=",
    "Δ": "Delta",
    "Σ": "sum",
}
PLAIN = "plain-signs"  # the name of the error handler


def _in_plain_signs(error: UnicodeError) -> tuple[str, int]:
    """What stands for the part of a text that cannot be encoded, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    parts = []
    for letter in error.object[error.start : error.end]:
        parts.append(SIGNS.get(letter) or letter.encode("ascii", "backslashreplace").decode())
    return "".join(parts), error.end


codecs.register_error(PLAIN, _in_plain_signs)


def never_fail_to_print() -> None:
    """Let standard output and error show what their encoding lacks in ASCII, without an error."""
    for stream in (sys.stdout, sys.stderr):
        # They are None where the caller closed them.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=PLAIN)


def shown(text: str, encoding: str) -> str:
    """`text` as a terminal of this encoding shows it, so that its width can be told."""
    try:
        return text.encode(encoding, PLAIN).decode(encoding)
    except LookupError:  # not one of Python's
        return text

"""Text on a terminal, broken at blanks to its width: findings, and notes on standard error."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from shutil import get_terminal_size
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from suite.system.encoding import shown

LEAST, MOST = 40, 200  # columns of a line of text
TIE = "\N{NO-BREAK SPACE}"
# A number stays with its unit, and a symbol with its number.
UNIT = re.compile(r"(?<=\d) (?=%|s\b|h\b|points?\b|minutes?\b|hours?\b|images?\b|x\b)")
SYMBOL = re.compile(r"(?<=\b[pG]) (?=[=<])|(?<=[=<>†±]) (?=\d)")
COMMAND = re.compile(r"`[^`]+`")


def print_text(text: str, style: str = "") -> None:
    """Print a sentence, broken at blanks to the width of the terminal, never inside a number."""
    if not text:
        return
    console = Console(markup=False, highlight=False)
    for line in wrapped(shown(text, console.encoding), line_width()):
        # Broken already: a path that is longer than the line stays whole.
        console.print(Text(line, style), soft_wrap=True)


def print_note(text: str, stream: TextIO | None = None) -> None:
    """Print a note, broken to the width of a terminal, whole in a file; by default to stderr."""
    stream = stream or sys.stderr
    with suppress(OSError):  # a log on a full disk, or that nobody reads any more, ends no run
        print(_broken_on_terminal(text, stream), file=stream, flush=True)


def print_result(text: str) -> None:
    """Print a result at once, broken to the width of a terminal, a line of its own in a file."""
    print(_broken_on_terminal(text, sys.stdout), flush=True)


def _broken_on_terminal(text: str, stream: TextIO) -> str:
    return "\n".join(wrapped(text, line_width())) if stream.isatty() else text


def line_width() -> int:
    """Columns of a line of text: the terminal's, within bounds."""
    return min(max(get_terminal_size((120, 24)).columns, LEAST), MOST)


def wrapped(text: str, width: int) -> list[str]:
    """Break `text` into lines of at most `width` columns; longer words stand alone, whole.

    A command in backticks is such a word, so that it can be copied.
    """
    lines: list[str] = []
    line = ""
    whole = COMMAND.sub(lambda command: command[0].replace(" ", TIE), text)
    for word in SYMBOL.sub(TIE, UNIT.sub(TIE, whole)).split(" "):
        longer = f"{line} {word}" if line else word
        if line and cell_len(longer) > width:
            lines.append(line)
            longer = word
        line = longer
    return [each.replace(TIE, " ") for each in (*lines, line)]

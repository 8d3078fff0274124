"""What a command found, on a terminal: an answer, its table, few sentences; all on request."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from shutil import get_terminal_size

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from suite.system.encoding import shown
from suite.terminal.tables import print_table

LEAST, MOST = 40, 200  # columns of a line of text
MOST_SENTENCES = 3
TIE = "\N{NO-BREAK SPACE}"
# A number stays with its unit, and a symbol with its number.
UNIT = re.compile(r"(?<=\d) (?=%|s\b|h\b|points?\b|minutes?\b|hours?\b|images?\b|x\b)")
SYMBOL = re.compile(r"(?<=\b[pG]) (?=[=<])|(?<=[=<>†±]) (?=\d)")


@dataclass(frozen=True)
class Findings:
    """What a command found.

    ``answers``    in a line each, with the tables that belong to it
    ``notes``      how to read the tables: a line each, such as what a mark means
    ``warnings``   what makes the answers doubtful
    ``sentences``  at most three
    ``details``    everything else, sentences and tables, printed on request
    """

    answers: Sequence[tuple[str, Sequence[Table]]]
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()
    sentences: Sequence[str] = ()
    details: Sequence[str | Table] = field(default=())

    def __post_init__(self) -> None:
        """Refuse more sentences than anybody reads."""
        if len(self.sentences) > MOST_SENTENCES:
            raise ValueError(f"{len(self.sentences)} sentences are too many for a terminal")


def print_findings(found: Findings, verbose: bool = False) -> None:
    """Print to standard output as wide as the terminal; `details` only if `verbose`."""
    for place, (answer, tables) in enumerate(found.answers):
        if place and tables:
            print()
        print_text(answer, "bold")
        for table in tables:
            print()
            print_table(table)
    for note in found.notes:
        print_text(note)
    if found.answers and (found.warnings or found.sentences):
        print()
    for warning in found.warnings:
        print_text(f"WARNING: {warning}")
    for sentence in found.sentences:
        print_text(sentence)
    for detail in found.details if verbose else ():
        if isinstance(detail, str):
            print_text(detail)
        else:
            print_table(detail)


def print_text(text: str, style: str = "") -> None:
    """Print a sentence, broken at blanks to the width of the terminal, never inside a number."""
    if not text:
        return
    console = Console(markup=False, highlight=False)
    width = min(max(get_terminal_size((120, 24)).columns, LEAST), MOST)
    for line in wrapped(shown(text, console.encoding), width):
        # Broken already: a path that is longer than the line stays whole.
        console.print(Text(line, style), soft_wrap=True)


def wrapped(text: str, width: int) -> list[str]:
    """Break `text` into lines of at most `width` columns; longer words stand alone, whole."""
    lines: list[str] = []
    line = ""
    for word in SYMBOL.sub(TIE, UNIT.sub(TIE, text)).split(" "):
        longer = f"{line} {word}" if line else word
        if line and cell_len(longer) > width:
            lines.append(line)
            longer = word
        line = longer
    return [each.replace(TIE, " ") for each in (*lines, line)]

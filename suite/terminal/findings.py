"""What a command found, on a terminal: an answer, its table, few sentences; all on request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich.table import Table

from suite.terminal.lines import print_text
from suite.terminal.tables import print_table

MOST_SENTENCES = 3


@dataclass(frozen=True)
class Findings:
    """What a command found.

    ``answers``    in a line each, with the tables that belong to it
    ``notes``      how to read the tables: a line each, such as what a mark means
    ``warnings``   what makes the answers doubtful, printed under the first one
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
    # Nobody should read the figures of a table before what makes them doubtful.
    warnings = list(found.warnings)
    for place, (answer, tables) in enumerate(found.answers):
        if place and tables:
            print()
        print_text(answer, "bold")
        if tables:
            print_warnings(warnings)
            warnings.clear()
        for table in tables:
            print()
            print_table(table)
    print_warnings(warnings)
    for note in found.notes:
        print_text(note)
    if found.answers and found.sentences:
        print()
    for sentence in found.sentences:
        print_text(sentence)
    for detail in found.details if verbose else ():
        if isinstance(detail, str):
            print_text(detail)
        else:
            print_table(detail)


def print_warnings(warnings: Iterable[str]) -> None:
    """Print what makes an answer doubtful, a paragraph each."""
    for warning in warnings:
        print_text(f"WARNING: {warning}")

"""Cards of the methods in a run, as they open beside their names."""

from __future__ import annotations

from markdown_it import MarkdownIt
from markupsafe import Markup

from methods import METHODS
from reports.report_data import ReportData
from reports.run import Row
from suite.system.equations import plain_equations

# Raw HTML in a card is shown as text.
MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")


def cards(report: ReportData) -> dict[str, Row]:
    """A card for each label of the run that reduces tokens: its ``text``, and how it ran.

    The text is that of a method of this suite; of others only what the run stores of them is known,
    since a report runs no foreign code.
    """
    cells = report.run.every_cell.drop_duplicates("label").set_index("label")
    made = {}
    for label in report.labels:
        if label not in cells.index:
            continue
        cell = cells.loc[label]
        made[label] = {"text": _text(str(cell["method"])), "label": label}
    return made


def _text(method: str) -> Markup:
    """The card of a method of this suite as HTML, without its title; empty of another's."""
    if METHODS.origin(method) != "built-in":
        return Markup("")
    _, _, body = METHODS[method].card.partition("\n\n")
    # safe: the renderer escapes everything in the card
    return Markup(MARKDOWN.render(plain_equations(body)))  # noqa: S704

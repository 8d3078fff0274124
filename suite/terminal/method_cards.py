"""Method cards on a terminal: Markdown laid out, equations in plain characters."""

from __future__ import annotations

from rich.console import Console
from rich.markdown import Markdown
from rich.theme import Theme

from suite.system.equations import plain_equations


def print_cards(cards: str) -> None:
    """Print Markdown: laid out on a terminal, unchanged into a file or a pipe."""
    # The default theme sets code on black, which is hard to read on a light terminal.
    console = Console(theme=Theme({"markdown.code": "bold cyan"}))
    if console.is_terminal:
        console.print(Markdown(plain_equations(cards)))
    else:
        print(cards)

"""Labels of cells: the texts of methods that come to a cell, joined by `SAME`."""

from __future__ import annotations

import re

NAME = re.compile(r"[^\[@]*")  # a method's text up to its options and its schedule


def name_in(text: str) -> str:
    """The name with which a method's text begins, without its options and its schedule."""
    match = NAME.match(text)
    assert match is not None  # it may be empty
    return match.group()

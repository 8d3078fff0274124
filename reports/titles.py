"""Titles of methods, by which figures call them: a name of the user's, or as its paper writes it.

Tables, like commands, have the label: ``mtr[score=b]@falling``, a figure ``MTR[score=b]@falling``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

import pandas as pd

from methods import METHODS
from suite.store.labels import name_in
from suite.store.schema import SAME

FILE = re.compile(r" \([^()]*\)$")  # the file or run that tells methods of one name apart
DENSE = "none"


def titles_by_name(cells: pd.DataFrame) -> dict[str, str]:
    """Titles of the methods of `cells` by the names with which their labels begin.

    Methods of one title have their names, too.
    """
    titles: dict[str, str] = {}
    for row in cells.drop_duplicates("label").itertuples():
        name = name_in(str(row.label).split(SAME, 1)[0])
        file = FILE.search(name)
        title = f"{row.title or name}{file.group() if file else ''}"
        titles.setdefault(name, title)
    counts = Counter(titles.values())
    for name, title in titles.items():
        # One that is called so by its user stays so.
        if counts[title] > 1 and title != name:
            titles[name] = f"{title} ({name})"
    return titles


def titled(text: str, known: Mapping[str, str]) -> str:
    """Return a label, or one of its texts, with titles in place of names."""
    return SAME.join(_titled(part, known) for part in text.split(SAME))


def _titled(text: str, known: Mapping[str, str]) -> str:
    name = name_in(text)
    title = known.get(name, name)
    # A table may name methods that no cell has. Only ours are asked: a report runs no other code.
    if name not in known and METHODS.origin(name) == "built-in":
        title = METHODS[name].title
    return title + text[len(name) :] if text != DENSE else "dense"

"""A table of figures for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.table import Table


def figures_table(
    title: str, rows: Iterable[object], columns: Mapping[str, str], names: int = 1
) -> Table:
    """A table of `rows`; `columns` has a head and a template for each, as "{row.seconds:.3f}".

    All columns but the first `names` are aligned right.
    """
    table = Table(title=title)
    for index, head in enumerate(columns):
        table.add_column(head, justify="left" if index < names else "right")
    for row in rows:
        cells = [template.format(row=row) for template in columns.values()]
        # Python writes 12.3%, the suite 12.3 %
        table.add_row(*(cell.replace("%", " %") for cell in cells))
    return table

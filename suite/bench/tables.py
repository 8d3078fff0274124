"""A table of figures for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.table import Table

from suite.stats.correctness import sample_name


def figures_table(
    title: str,
    rows: Iterable[object],
    columns: Mapping[str, str],
    names: int = 1,
    kinds: Iterable[str] = (),
) -> Table:
    """A table of `rows`; `columns` has a head and a template for each, as "{row.seconds:.3f}".

    All columns but the first `names` are aligned right. "{samples}" in a head is what the `kinds`
    of the rows are measured of: an image, a clip, or either.
    """
    table = Table(title=title)
    samples = " or ".join(dict.fromkeys(map(sample_name, kinds)))
    for index, head in enumerate(columns):
        named = head.format(samples=samples)
        table.add_column(named, justify="left" if index < names else "right")
    for row in rows:
        cells = [template.format(row=row) for template in columns.values()]
        # Python writes 12.3%, the suite 12.3 %
        table.add_row(*(cell.replace("%", " %") for cell in cells))
    return table

"""The tables a terminal shows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from shutil import get_terminal_size
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from suite.store.schema import NOT_STATIC, CellRecord
from suite.store.unstated import UNSTATED, unstated_notes
from suite.system.encoding import shown

GIGA = 1e9
DAGGER = "†"
DENSE = "none"  # the method that leaves a backbone as it is
LEAST = 40  # columns; what is narrower breaks the lines itself
LONGEST_FIGURE = 24  # columns, such as an interval with its unit
WORD = r"[^\W\d_]{4}"  # no unit has as many letters


def print_table(table: Table) -> None:
    """Print to standard output, as wide as the terminal, as COLUMNS says, or 120 columns.

    A table that is wider is printed in parts, each with the first columns, which tell its rows
    apart. Text is folded; a figure stands whole on its line; nothing is left out.
    """
    # Method texts hold brackets, which rich would read as markup.
    console = Console(markup=False, width=max(get_terminal_size((120, 24)).columns, LEAST))
    columns = [_Column.of(column, console.encoding) for column in table.columns]
    title, columns = _named_once(str(table.title or ""), columns)
    for part in _parts(columns, console.width):
        fitted = Table(
            title=title or None,
            box=table.box,
            show_edge=table.show_edge,
            pad_edge=table.pad_edge,
            # A title that the terminal has room for is not broken over a narrow table.
            min_width=min(cell_len(title), console.width),
        )
        for column, width in zip(part, _widths(part, console.width), strict=True):
            justify = column.source.justify
            fitted.add_column(column.head, justify=justify, width=width, overflow="fold")
        for cells in zip(*(column.cells for column in part), strict=True):
            fitted.add_row(*cells)
        console.print(fitted)


def light_table(title: str, *heads: str) -> Table:
    """An empty table of findings, without lines between its columns, as README shows one."""
    return Table(*heads, title=title, box=SIMPLE_HEAD, show_edge=False)


def _named_once(title: str, columns: list[_Column]) -> tuple[str, list[_Column]]:
    """Title and columns; the only backbone of a table is named in its title alone."""
    first, *others = columns
    names = {cell.plain for cell in first.cells}
    if first.head != "backbone" or len(names) != 1:
        return title, columns
    (name,) = names
    return (f"{name}: {title}" if title else name), others


class _Column(NamedTuple):
    """A column, and how wide it is: in full, by its longest word, and by its longest figure."""

    source: Column
    head: str
    cells: list[Text]
    full: int
    word: int
    figure: int

    @classmethod
    def of(cls, source: Column, encoding: str) -> _Column:
        head = shown(str(source.header), encoding)
        cells = []
        for cell in source.cells:
            style = cell.style if isinstance(cell, Text) else ""
            cells.append(Text(shown(str(cell), encoding), style))
        lines = [line for cell in cells for line in cell.plain.splitlines()]
        full = max(map(cell_len, [head, *lines]))
        figure = 0
        for line in lines:
            # An interval or a number with its unit is one figure; a sentence may have several.
            for piece in line.split() if re.search(WORD, line) else [line]:
                if cell_len(piece) <= LONGEST_FIGURE and re.search(r"\d", piece):
                    figure = max(figure, cell_len(piece))
        words = [word for line in [head, *lines] for word in line.split()]
        word = max(figure, max(map(cell_len, words), default=1))
        return cls(source, head, cells, full, word, figure)


def _parts(columns: Sequence[_Column], room: int) -> list[list[_Column]]:
    """The columns in parts that fit into `room`, each after those that tell the rows apart."""
    keys = _keys(columns)
    parts = [list(keys)]
    for column in columns[len(keys) :]:
        wanted = [*parts[-1], column]
        needed = sum(max(min(each.word, room // 3), each.figure) for each in wanted)
        if len(parts[-1]) > len(keys) and needed > _inside(wanted, room):
            parts.append([*keys])
        parts[-1].append(column)
    return parts


def _keys(columns: Sequence[_Column]) -> Sequence[_Column]:
    """The fewest first columns that are different in every row; the first one if there are none."""
    count = len(columns[0].cells)
    for last in range(1, len(columns)):
        rows = zip(*(column.cells for column in columns[:last]), strict=True)
        if len({tuple(cell.plain for cell in row) for row in rows}) == count:
            return columns[:last]
    return columns[:1]


def _widths(columns: Sequence[_Column], room: int) -> list[int]:
    """How wide each column is: text is broken at blanks first, then words, figures last."""
    widths = [column.full for column in columns]
    for floors in (
        [column.word for column in columns],
        [column.figure for column in columns],
        [1] * len(columns),
    ):
        while sum(widths) > _inside(columns, room):
            spare = [width - floor for width, floor in zip(widths, floors, strict=True)]
            if max(spare) <= 0:
                break
            widths[spare.index(max(spare))] -= 1
    return widths


def _inside(columns: Sequence[_Column], room: int) -> int:
    """What borders and blanks leave of `room`."""
    return room - 3 * len(columns) - 1


def plan_table(records: Sequence[CellRecord], convention: str) -> Table:
    """What each cell removes and what it leaves, a row a cell, seeds together.

    Methods whose papers state no schedule have no row (see `unstated_notes`).
    """
    records = [record for record in records if record.reason != UNSTATED]
    table = Table(
        "backbone", "method", "asked", "seeds", "tokens removed", f"G ({convention})", "removed"
    )
    if any(record.status == "skipped" for record in records):
        table.add_column("reason")
    for row, seeds in Counter(_planned(record, convention) for record in records).items():
        backbone, method, asked, stochastic, *rest = row
        table.add_row(backbone, method, asked, str(seeds) if stochastic else "", *rest)
    return table


def _planned(record: CellRecord, convention: str) -> tuple[Any, ...]:
    """Everything shown of a planned cell but its seed; the fourth entry says whether it has one."""
    budget = "dense" if record.method == DENSE else ""
    # What cannot run as published has no budget.
    if record.budget is not None:
        budget = f"{100 * record.budget:.0f} %"
    cell = (record.backbone, record.label, budget)
    if record.status == "skipped":
        return (*cell, False, "", "", "", record.reason)
    return (
        *cell,
        record.stochastic,
        f"{100 * (record.token_ratio or 0.0):.1f} %",
        f"{record.total[convention] / GIGA:.4g}",
        f"{100 * record.removed[convention]:.2f} %",
    )


def off_budget(records: Sequence[CellRecord]) -> list[str]:
    """What cells remove that lie off their budget, as smaller images do: a line for each method."""
    groups: dict[tuple[str, str], list[str]] = {}
    for record in records:
        if record.off_budget:
            shares = groups.setdefault((record.label, record.backbone), [])
            shares.append(f"{100 * record.removed_share:.1f}")
    several = len({backbone for _, backbone in groups}) > 1
    lines = []
    for (label, backbone), shares in groups.items():
        where = f" on {backbone}" if several else ""
        lines.append(
            f"{DAGGER} {label}{where}: {', '.join(dict.fromkeys(shares))} % fewer FLOPs, so not "
            "tested against the others."
        )
    return lines


def not_static(records: Sequence[CellRecord]) -> list[str]:
    """What single images lose under adaptive counts, whose shapes differ: a line for each cell."""
    lines = []
    for record in records:
        if record.adaptive and record.adaptive.removed and record.budget and record.seed == 0:
            low, high = (100 * record.adaptive.removed[rank] for rank in ("5", "95"))
            lines.append(
                f"{record.label} at -{100 * record.budget:.4g} % on {record.backbone}: "
                f"{NOT_STATIC}, 9 in 10 {record.kind} lose {low:.1f} to {high:.1f} % of the "
                f"FLOPs, {100 * record.removed_share:.1f} % in the mean."
            )
    return lines


def smaller_models(records: Sequence[CellRecord]) -> list[str]:
    """What dense models of other sizes keep beside the backbones, a line each."""
    lines = []
    for record in records:
        for backbone, share in record.beside.items():
            if record.role == "smaller" and record.metrics and share > 0:
                lines.append(
                    f"{record.backbone}, a model smaller than {backbone}: "
                    f"{100 * record.metrics.accuracy:.1f} at {100 * share:.1f} % fewer FLOPs."
                )
    return lines


def left_out(records: Sequence[CellRecord]) -> list[str]:
    """Why cells were skipped or failed, a line for each method and reason."""
    lines = [
        f"{record.status}: {record.label} on {record.backbone}: {record.reason}"
        for record in records
        if record.status != "ok" and record.reason != UNSTATED
    ]
    notes = unstated_notes((record.label, record.reason) for record in records)
    return [*dict.fromkeys(lines), *notes]


def seed_mean(cells: Sequence[CellRecord]) -> str:
    """Mean top-1 of the cells and, for several seeds, half their range; or why there is none."""
    done = [cell.metrics.accuracy for cell in cells if cell.metrics]
    if not done:
        return cells[0].status if cells else "same as above"
    spread = f" ±{50 * (max(done) - min(done)):.1f}" if len(done) > 1 else ""
    mark = f" {DAGGER}" if any(cell.off_budget for cell in cells) else ""
    return f"{100 * sum(done) / len(done):.1f}{spread}{mark}"

"""The table of pairs of methods and whether their order holds over schedules."""

from __future__ import annotations

from rich.table import Table

from suite.stats.schedule_words import STATES, place
from suite.stats.schedules import ScheduleVerdicts
from suite.terminal.tables import light_table


def order_table(verdicts: ScheduleVerdicts, kind: str = "images") -> Table:
    """The verdict on each pair of methods, and under how many schedules who is ahead.

    `kind` says whether images or videos were compared.
    """
    title = f"order under equal schedules, {place(verdicts, kind)}"
    table = light_table(title, "method", "other", "order", *STATES)
    for order in verdicts.methods:
        counts = [str(len(order.those(state))) for state in STATES]
        table.add_row(order.method, order.other, order.verdict, *counts)
    return table

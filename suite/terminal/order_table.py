"""The table of pairs of methods and whether their order holds over schedules."""

from __future__ import annotations

from rich.table import Table

from suite.stats.schedules import ScheduleVerdicts, State

STATES: tuple[State, ...] = ("ahead", "behind", "open")


def order_table(verdicts: ScheduleVerdicts) -> Table:
    """The verdict on each pair of methods, and under how many schedules who is ahead."""
    title = f"order over schedules on {verdicts.backbone}, -{100 * verdicts.budget:.4g} % FLOPs"
    table = Table("method", "other", "order", *STATES, title=title)
    for order in verdicts.methods:
        counts = [str(len(order.those(state))) for state in STATES]
        table.add_row(order.method, order.other, order.verdict, *counts)
    return table

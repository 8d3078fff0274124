"""What the figures of a GPU are held against: each goal with what was reached, met or missed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rich.table import Table

from suite.bench.cuda_kernels import ScanRow
from suite.bench.cuda_models import AUTHORS, REDUCED_BY, ModelRow

OVER_AUTHORS = 2.0  # dense, times the throughput of the authors' block
SPEEDUP_METHOD, SPEEDUP_BACKBONE, SPEEDUP_BUDGET, SPEEDUP = "mtr", "vim_small", 0.4, 1.5
SHARE_OF_FLOOR = 0.5


@dataclass(frozen=True)
class Goal:
    """One goal: `reached` should be at least `wanted`."""

    what: str
    wanted: float
    reached: float

    @property
    def met(self) -> bool:
        """Whether it is."""
        return self.reached >= self.wanted


def scan_goals(rows: Iterable[ScanRow]) -> list[Goal]:
    """The forward scan of `triton` at half of its floor or better, on every shape in every precision."""
    return [
        Goal(
            f"{row.shape} {row.dtype}: floor over time of the forward scan",
            SHARE_OF_FLOOR,
            row.share_of_floor,
        )
        for row in rows
        if row.kernel == REDUCED_BY and not row.gradients
    ]


def model_goals(rows: Iterable[ModelRow]) -> list[Goal]:
    """`triton` over the authors' block, dense, and the speed-up of a reduced model over the dense one."""
    goals, rows = list[Goal](), list(rows)
    rates = {
        (row.backbone, row.precision, row.kernel): row.images_per_second
        for row in rows
        if row.method == "none"
    }
    for (backbone, precision, kernel), rate in rates.items():
        usual = rates.get((backbone, precision, AUTHORS))
        if kernel == REDUCED_BY and usual:
            what = f"{backbone} {precision}: dense with {REDUCED_BY}, times {AUTHORS}"
            goals.append(Goal(what, OVER_AUTHORS, rate / usual))
    for row in rows:
        if (row.method, row.backbone, row.budget) == (
            SPEEDUP_METHOD,
            SPEEDUP_BACKBONE,
            SPEEDUP_BUDGET,
        ):
            cut = f"{100 * row.flops_cut:.1f} % of FLOPs"
            what = f"{row.backbone} {row.precision}: {row.method} at {cut} less, times dense"
            goals.append(Goal(what, SPEEDUP, row.speedup))
    return goals


def table(goals: list[Goal]) -> Table:
    """The goals for a terminal."""
    shown = Table("goal", "wanted", "reached", "", title="Goals")
    for goal in goals:
        shown.add_row(
            goal.what, f"{goal.wanted:.2f}", f"{goal.reached:.2f}", "met" if goal.met else "missed"
        )
    return shown

"""Everything the figures, the tables and the page share of one run, worked out once."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from reports import aggregate as points
from reports import page_panels as panels
from reports.formatting import ENVELOPE
from reports.run import Run, correctness
from reports.style import Look, looks
from reports.token_overlay import Pixels
from suite.stats.blind_baselines import Mark, marks_of


@dataclass(frozen=True)
class Sheet:
    """A run with its aggregated frames, in the order in which everything is drawn."""

    run: Run
    frame: pd.DataFrame
    labels: list[str]
    looks: dict[str, Look]
    houses: list[str]
    budgets: list[float]
    blocks: pd.DataFrame
    pictures: dict[int, Pixels]
    shape: tuple[int, int] | None
    correct: dict[str, pd.Series]
    marks: dict[tuple[str, float], Mark]

    @classmethod
    def of(cls, run: Run) -> Sheet:
        """Work out the sheet of `run`."""
        known, correct = points.labels(run), correctness(run)
        frames = (
            run.kept_tokens,
            run.foreground,
            run.gallery,
            *(part for part in run.others.values() if "label" in part),
        )
        analysed = {str(label) for part in frames for label in part["label"].dropna().unique()}
        order = known + sorted(analysed - set(known))
        shown = panels.pictures(run)
        return cls(
            run=run,
            frame=points.points(run),
            labels=order,
            looks=looks(order),
            houses=points.backbones(run),
            budgets=points.budgets(run),
            blocks=points.by_block(run),
            pictures=shown,
            shape=panels.grid_shape(run, shown),
            correct=correct,
            marks=marks_of(run.blind_comparison, order),
        )

    @property
    def caption(self) -> str:
        """What the table of all results shows."""
        data = self.run.dataset
        return (
            f"Token reduction on {', '.join(self.houses)}, {data.get('name', 'unnamed data')} {data.get('split', '')}, "
            f"{data.get('images', 'an unknown number of')} images; FLOPs by the convention '{self.run.convention}'."
            + (f" {ENVELOPE}" if points.few_seeds(self.frame) else "")
        )

    @property
    def trades(self) -> bool:
        """Whether there is a trade-off to draw: an ablation's many settings at one budget only hide each other."""
        return not (self.run.ablates and sum(budget > 0 for budget in self.budgets) == 1)

    def focus(self, frame: pd.DataFrame) -> float:
        """The budget that a figure with room for one shows, among those that `frame` knows."""
        return points.focus(sorted(float(budget) for budget in frame["budget"].dropna().unique()))

    def ordered(self, frame: pd.DataFrame) -> list[str]:
        """The labels that `frame` knows, in drawing order."""
        there = set(frame["label"].astype(str))
        return [label for label in self.labels if label in there]

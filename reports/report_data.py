"""What figures, tables and page share of one run, computed once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from reports import aggregate, page_panels
from reports.run import Run, recomputed
from reports.style import Look, looks
from reports.titles import titled, titles_by_name
from reports.token_overlay import Pixels
from suite.stats.blind_baselines import BlindComparison, read_blind_table
from suite.stats.compare import ENVELOPE
from suite.stats.correctness import sample_name
from suite.stats.ranking import focus


@dataclass(frozen=True)
class ReportData:
    """A run with its aggregated tables.

    ``labels`` is the order in which methods are drawn, ``looks`` their titles, colours and markers.
    ``names`` are titles by the names with which labels begin.
    ``marks`` compares methods with the blind baselines, by backbone and budget. ``recomputed``
    is, by key of a cell, its accuracy from the outcomes of images.
    """

    run: Run
    frame: pd.DataFrame
    labels: list[str]
    looks: dict[str, Look]
    names: dict[str, str]
    backbones: list[str]
    budgets: list[float]
    blocks: pd.DataFrame
    pictures: dict[int, Pixels]
    shape: tuple[int, int] | None
    recomputed: dict[str, float]
    marks: dict[tuple[str, float], BlindComparison]

    @classmethod
    def of(cls, run: Run) -> ReportData:
        """Aggregate the tables of `run`."""
        order = aggregate.labels(run)
        analysed: set[str] = set()
        common = (run.ranking, run.kept_tokens, run.foreground, run.gallery)
        for table in (*common, *run.others.values()):
            if "label" in table:
                analysed |= set(table["label"].dropna().astype(str))
        # an analysis may name methods that no cell has, such as those of a sensitivity run
        order += sorted(analysed - set(order))
        names = titles_by_name(run.cells)
        shown = page_panels.pictures(run)
        return cls(
            run=run,
            frame=aggregate.points(run),
            labels=order,
            looks=looks(
                order, {label: titled(label, names) for label in order}, aggregate.smaller(run)
            ),
            names=names,
            backbones=aggregate.backbones(run),
            budgets=aggregate.budgets(run),
            blocks=aggregate.by_block(run),
            pictures=shown,
            shape=page_panels.grid_shape(run, shown),
            recomputed=recomputed(run),
            marks=read_blind_table(run.blind_comparison, order),
        )

    @property
    def caption(self) -> str:
        """Caption of the table of all results."""
        data = self.run.dataset
        number = data.get("images", "an unknown number of")
        caption = (
            f"Token reduction on {', '.join(self.backbones)}, "
            f"{data.get('name', 'unnamed data')} {data.get('split', '')}, {number} "
            f"{self.run.kind}; FLOPs by the convention '{self.run.convention}'."
        )
        if corrected := aggregate.corrected_for(self.frame):
            caption += f" Differences: intervals and p are corrected for {corrected} at a budget."
        return f"{caption} {ENVELOPE}" if aggregate.few_seeds(self.frame) else caption

    def title(self, text: str) -> str:
        """Return what figures call a label, or one of the texts in it."""
        return self.looks[text].title if text in self.looks else titled(text, self.names)

    @property
    def sample(self) -> str:
        """What FLOPs are counted of."""
        return sample_name(self.run.kind)

    @property
    def trades(self) -> bool:
        """Whether to draw the trade-off; the settings of an ablation at one budget overlap."""
        return not (self.run.ablates and sum(budget > 0 for budget in self.budgets) == 1)

    def budgets_of(self, frame: pd.DataFrame) -> list[float]:
        """Return the budgets of `frame`, ascending."""
        return sorted(float(budget) for budget in frame["budget"].dropna().unique())

    def focus(self, frame: pd.DataFrame) -> float:
        """Return the budget of `frame` for a figure with room for one."""
        return focus(self.budgets_of(frame))

    def sorted(self, labels: Iterable[str]) -> list[str]:
        """Return `labels` in drawing order."""
        present = set(labels)
        return [label for label in self.labels if label in present]

    def ordered(self, frame: pd.DataFrame) -> list[str]:
        """Return the labels of `frame` in drawing order."""
        return self.sorted(frame["label"].astype(str))

    def by_group(self, frame: pd.DataFrame) -> dict[str, list[str]]:
        """Return the labels of `frame` in drawing order, by group of methods."""
        groups: dict[str, list[str]] = {}
        for label in self.ordered(frame):
            groups.setdefault(self.looks[label].group, []).append(label)
        return groups

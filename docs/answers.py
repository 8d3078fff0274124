"""The answers of a finished run, one bit an image and cell, from which the documents are written.

`python docs/answers.py RUN NAME` stores those of run folder RUN as ``docs/tables/NAME.parquet``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from suite.merge.finished_run import FinishedRun, load_run
from suite.stats.compare import Comparison, compare, compare_to_reference
from suite.stats.correctness import Outcomes
from suite.store.schema import SHOWN
from suite.tries.settings import Setting

TABLES = Path(__file__).parent / "tables"
ABOUT = b"about"
# Tables of a run's analyses that pages print, each a row a line.
ANALYSES = ("blind_comparison", "token_matched", "ablation", "mamba_vs_attention")
FIELDS = (
    "backbone",
    "label",
    "role",
    "schedule",
    "cls_window",
    "budget",
    "seed",
    "token_ratio",
    "reason",
)


def store(run: FinishedRun, path: Path) -> None:
    """Write the answers of `run` to `path`: a row a cell, and how they can be had again."""
    rows = []
    for record in run.records:
        row: dict[str, Any] = {name: getattr(record, name) for name in FIELDS}
        row["removed"] = row["correct"] = None
        if record.status == "ok":
            row["removed"] = record.removed_share
            answers = run.outcomes(record)
            right = answers.prediction.to_numpy() == answers.label_true.to_numpy()
            row["correct"] = np.packbits(right).tobytes()
        rows.append(row)
    machine = run.environment.get("gpu") or run.environment["cpu"]
    about = {
        "command": run.environment["command"],
        "seconds": run.environment["seconds"],
        "machine": machine if run.on_cuda else run.environment["cpu"],
        "cores": run.environment["cores"],
        "weights": run.environment["weights"],
        "data": run.dataset["hash"],
        "split": run.dataset["split"],
        "images": run.images.tolist(),
        "tables": {
            name: json.loads(frame.to_json(orient="records"))
            for name, frame in run.tables()
            if name in ANALYSES
        },
    }
    table = pa.Table.from_pandas(pd.DataFrame(rows), preserve_index=False)
    pq.write_table(table.replace_schema_metadata({ABOUT: json.dumps(about)}), path)


@dataclass(frozen=True)
class Answers:
    """The answers of one run; cells are named by backbone, label and budget.

    ``about``  command, seconds, machine, hashes, split and numbers of the images
    """

    cells: pd.DataFrame
    about: dict[str, Any]

    @cached_property
    def images(self) -> np.ndarray:
        """Numbers of the images."""
        return np.array(self.about["images"])

    @property
    def backbone(self) -> str:
        """The first backbone."""
        return str(self.cells.backbone.iloc[0])

    def outcomes(self, label: str, budget: float | None, backbone: str = "") -> Outcomes:
        """What `label` got right at `budget` (None: the dense model), all seeds; or a KeyError."""
        found = self.cells[self.cells.backbone == (backbone or self.backbone)]
        found = found[found.budget.isna() if budget is None else found.budget == budget]
        # A joined label may be given whole or by one of its methods.
        found = found[found.label.map(lambda joined: label in (joined, *joined.split(" = ")))]
        # A cell that only another analysis needs may have the same label.
        main = found[found.role.isin(SHOWN)]
        found = (main if len(main) else found).dropna(subset="correct")
        if found.empty:
            raise KeyError(f"no cell of {label} at {budget} on {backbone or self.backbone}")
        correct = [
            np.unpackbits(np.frombuffer(bits, np.uint8), count=len(self.images)).astype(bool)
            for bits in found.correct
        ]
        return Outcomes(label, np.stack(correct), self.images, float(found.removed.iloc[0]))

    def table(self, name: str, **wanted: Any) -> list[dict[str, Any]]:
        """The rows of a table of an analysis whose columns have the values `wanted`."""
        rows = self.about["tables"][name]
        return [row for row in rows if all(row[key] == value for key, value in wanted.items())]

    def shown_to_beat_blind(self, budget: float, backbone: str = "") -> list[str]:
        """Labels of the methods that were shown to beat every blind baseline."""
        place = {"backbone": backbone or self.backbone, "budget": budget}
        return [row["label"] for row in self.table("blind_comparison", **place) if row["shown"]]

    def reason(self, label: str, budget: float, backbone: str = "") -> str:
        """Why a cell of the run's tables has no answers; empty if it has."""
        rows = self._main(backbone)
        rows = rows[(rows.budget == budget) & (rows.label == label)]
        return str(rows.reason.iloc[0] or "") if len(rows) else "not run"

    def _main(self, backbone: str) -> pd.DataFrame:
        rows = self.cells[self.cells.backbone == (backbone or self.backbone)]
        return rows[rows.role.isin(SHOWN)]

    def labels(self, budget: float, backbone: str = "") -> list[str]:
        """Labels of the run's tables at `budget`, the most accurate first."""
        rows = self._main(backbone)
        rows = rows[rows.budget == budget].dropna(subset="correct")
        labels = dict.fromkeys(rows.label)
        return sorted(labels, key=lambda label: -self.top1(label, budget, backbone))

    def setting(self, label: str, budget: float, backbone: str = "") -> Setting | None:
        """Schedule and window of a cell; None of a smaller image."""
        rows = self._main(backbone)
        rows = rows[(rows.budget == budget) & (rows.label == label)]
        if rows.empty or pd.isna(rows.cls_window.iloc[0]):
            return None
        return Setting(str(rows.schedule.iloc[0]), int(rows.cls_window.iloc[0]))

    def top1(self, label: str, budget: float | None = None, backbone: str = "") -> float:
        """Top-1, mean over seeds, in [0, 1]."""
        return self.outcomes(label, budget, backbone).accuracy

    def spread(self, label: str, budget: float, backbone: str = "") -> float:
        """Half the range of top-1 over the seeds."""
        single = self.outcomes(label, budget, backbone).correct.mean(axis=1)
        return float(single.max() - single.min()) / 2

    def removed(self, label: str, budget: float, backbone: str = "") -> float:
        """Share of the FLOPs removed."""
        return self.outcomes(label, budget, backbone).removed

    def difference(
        self, first: str, second: str, budget: float | None, backbone: str = ""
    ) -> Comparison:
        """`first` against `second`, nothing corrected."""
        one, two = (self.outcomes(label, budget, backbone) for label in (first, second))
        return compare(one, two)

    def against(
        self, reference: str, others: Sequence[str], budget: float, backbone: str = ""
    ) -> list[Comparison]:
        """Each of `others` against `reference`, corrected by Holm's method."""
        cells = [self.outcomes(label, budget, backbone) for label in others]
        return compare_to_reference(self.outcomes(reference, budget, backbone), cells)


def read(name: str) -> Answers:
    """The stored answers of the run called `name`."""
    table = pq.read_table(TABLES / f"{name}.parquet")
    return Answers(table.to_pandas(), json.loads(table.schema.metadata[ABOUT]))


if __name__ == "__main__":
    store(load_run(Path(sys.argv[1])), TABLES / f"{sys.argv[2]}.parquet")

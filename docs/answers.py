"""The answers of a finished run, one bit an image and cell, from which the documents are written.

`python docs/answers.py RUN NAME` stores those of run folder RUN as ``docs/tables/NAME.parquet``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from suite.merge.finished_run import FinishedRun, load_run
from suite.stats.compare import Comparison, compare
from suite.stats.hits import Hits
from suite.store.schema import SHOWN, CellRecord, ClassificationMetrics
from suite.tries.settings import Setting

TABLES = Path(__file__).parent / "tables"
ABOUT = b"about"
# Tables of a run's analyses that pages print, each a row a line.
ANALYSES = ("ablation", "blind_comparison", "schedules", "token_matched")
FIELDS = (
    "backbone",
    "label",
    "role",
    "schedule",
    "cls_window",
    "budget",
    "seed",
    "reason",
)


def store(run: FinishedRun, path: Path) -> None:
    """Write the answers of `run` to `path`: a row a cell, and how they can be had again."""
    rows = []
    for record in run.records:
        row: dict[str, Any] = {name: getattr(record, name) for name in FIELDS}
        row["beside"] = json.dumps(record.beside)
        row["removed"] = row["correct"] = None
        if record.status == "ok":
            row["removed"] = record.removed_share
            answers = run.outcomes(record)
            right = answers.prediction.to_numpy() == answers.label_true.to_numpy()
            row["correct"] = np.packbits(right).tobytes()
        rows.append(row)
    machine = run.environment.get("gpu") or run.environment["cpu"]
    about = {
        "seconds": run.environment["seconds"],
        "machine": machine if run.on_cuda else run.environment["cpu"],
        "cores": run.environment["cores"],
        "backbones": list(run.comparison.backbones),
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


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers of one run; cells are named by backbone, label and budget.

    ``about``  seconds, machine, hashes, split and numbers of the images
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
        return str(self.about["backbones"][0])

    # Answers live as long as the pages are written, which ask for the same again and again.
    @cache  # noqa: B019
    def outcomes(self, label: str, budget: float | None, backbone: str = "") -> Hits:
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
        return Hits(label, np.stack(correct), self.images, float(found.removed.iloc[0]))

    def table(self, name: str, **wanted: Any) -> list[dict[str, Any]]:
        """The rows of a table of an analysis whose columns have the values `wanted`."""
        rows = self.about["tables"][name]
        return [row for row in rows if all(row[key] == value for key, value in wanted.items())]

    def setting_of(self, axis: str, setting: str, budget: float) -> dict[str, Any]:
        """The row of one setting of an ablation."""
        return self.table("ablation", axis=axis, setting=setting, budget=budget)[0]

    def beside(self, smaller: str) -> float:
        """How much less FLOPs a smaller model costs, as a share of the first backbone's."""
        rows = self.cells[(self.cells.backbone == smaller) & (self.cells.role == "smaller")]
        return float(json.loads(rows.beside.iloc[0])[self.backbone])

    def smaller_image(self, removed: float, backbone: str = "") -> float:
        """Top-1 of a smaller image at `removed` of the FLOPs, between the sizes that were run."""
        name = backbone or self.backbone
        points = {0.0: self.top1("none", None, name)}
        rows = self._main(name)
        for budget in rows[rows.label == "downsample"].dropna(subset=["correct"]).budget:
            points[self.removed("downsample", budget, name)] = self.top1("downsample", budget, name)
        shares = sorted(points)
        if removed > shares[-1]:
            raise KeyError(f"no image as small as {removed:.0%} less")
        return float(np.interp(removed, shares, [points[share] for share in shares]))

    def published(self, beside: Sequence[str]) -> list[tuple[str, float]]:
        """Label and budget of each published cell of protocol `paper`, by FLOPs removed.

        `beside` are the methods that are matched to them.
        """
        rows = self._main("").dropna(subset=["correct", "budget"])
        rows = rows[~rows.label.isin(beside)].sort_values("budget")
        return [(str(row.label), float(row.budget)) for row in rows.itertuples()]

    def shown_to_beat_blind(self, budget: float, backbone: str = "") -> list[str]:
        """Labels of the methods that were shown to beat every blind baseline."""
        place = {"backbone": backbone or self.backbone, "budget": budget}
        return [row["label"] for row in self.table("blind_comparison", **place) if row["shown"]]

    def _main(self, backbone: str) -> pd.DataFrame:
        rows = self.cells[self.cells.backbone == (backbone or self.backbone)]
        return rows[rows.role.isin(SHOWN)]

    def labels(self, budget: float, backbone: str = "") -> list[str]:
        """Labels of the run's tables at `budget`, the most accurate first."""
        return self._ranked[backbone or self.backbone, budget]

    @cached_property
    def _ranked(self) -> dict[tuple[str, float], list[str]]:
        ranked = {}
        rows = self.cells[self.cells.role.isin(SHOWN)].dropna(subset=["correct", "budget"])
        for (backbone, budget), found in rows.groupby(["backbone", "budget"]):
            labels = [(-self.top1(label, budget, backbone), label) for label in set(found.label)]
            ranked[backbone, budget] = [label for _, label in sorted(labels)]
        return ranked

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

    def records(self, labels: Sequence[str]) -> list[CellRecord]:
        """The dense model and the cells of `labels`, in this order, for a table of results."""
        rows = self._main("").dropna(subset="correct").astype(object)
        rows = rows.where(rows.notna(), None)
        records = []
        for label in ("none", *labels):
            for row in rows[rows.label == label].itertuples():
                bits = np.frombuffer(row.correct, np.uint8)
                top1 = float(np.unpackbits(bits, count=len(self.images)).mean())
                records.append(
                    CellRecord.model_construct(
                        status="ok",
                        backbone=row.backbone,
                        method=label,
                        label=label,
                        split=self.about["split"],
                        images=len(self.images),
                        schedule=row.schedule,
                        cls_window=None if row.cls_window is None else int(row.cls_window),
                        budget=row.budget,
                        protocol="matched",
                        flops_convention="flops",
                        removed={"flops": row.removed},
                        metrics=ClassificationMetrics.model_construct(top1=top1),
                    )
                )
        return records

    def difference(
        self, first: str, second: str, budget: float | None, backbone: str = ""
    ) -> Comparison:
        """`first` against `second`, nothing corrected."""
        one, two = (self.outcomes(label, budget, backbone) for label in (first, second))
        return compare(one, two)


def read(name: str) -> Answers:
    """The stored answers of the run called `name`."""
    table = pq.read_table(TABLES / f"{name}.parquet")
    return Answers(table.to_pandas(), json.loads(table.schema.metadata[ABOUT]))


if __name__ == "__main__":
    store(load_run(Path(sys.argv[1])), TABLES / f"{sys.argv[2]}.parquet")

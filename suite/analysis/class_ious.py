"""Segmentation class by class: which classes lose their pixels under a method."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from suite.stats.confusion import class_ious, summed
from suite.store.results import PIXEL_COLUMNS, Results
from suite.store.schema import SEGMENTATION, TABLES, CellRecord


def class_iou_tables(records: Iterable[CellRecord], results: Results) -> dict[str, pd.DataFrame]:
    """The table ``class_ious`` of the finished cells of the tables, seeds averaged.

    Of another task than segmentation nothing.
    """
    if results.task != SEGMENTATION:
        return {}
    groups: dict[tuple[str, str, float | None], list[CellRecord]] = {}
    for record in records:
        if record.status == "ok" and record.shown:
            key = record.backbone, record.label, record.budget
            groups.setdefault(key, []).append(record)
    rows: list[dict[str, Any]] = []
    for (backbone, label, budget), seeds in groups.items():
        of_seeds = []
        for record in seeds:
            frame = results.outcomes(record.key, PIXEL_COLUMNS)
            matrix = summed(list(frame.confusion), list(frame.pixels), results.classes)
            of_seeds.append(class_ious(matrix))
        place = {"backbone": backbone, "label": label, "budget": budget}
        for number, value in enumerate(np.mean(of_seeds, axis=0)):
            rows.append(place | {"class_number": number, "class_iou": float(value)})
    return {"class_ious": pd.DataFrame(rows, columns=list(TABLES["class_ious"].columns))}

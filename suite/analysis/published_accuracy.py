"""Whether a dense model does on the data what was published of it: where it does not, no figure of the run counts."""

from __future__ import annotations

from pathlib import PurePath

from backbones.base import Backbone
from backbones.checkpoints.published import PublishedFile, files_of
from suite.data.base import Dataset
from suite.stats import Outcomes, wilson

SURE = 0.9973  # three standard deviations
SLACK = 0.003  # of rounding, resizing libraries and kernels


def expected(backbone: str, model: Backbone, dataset: Dataset) -> PublishedFile | None:
    """What was published of the weights in `model` on `dataset`; of `backbone`, if its file has another name.

    Videos are recognised by the number of their classes. None where nothing is known.
    """
    if model.provenance is None:
        return None
    source, file = model.provenance.source, PurePath(model.provenance.path).name
    rows = [row for row in files_of(backbone) if fits(row, dataset)]
    known = [
        row
        for row in rows
        if row.source == source or (row.source != "bundled" and row.file == file)
    ]
    others = [row for row in rows if row.source != "bundled" and source != "bundled"]
    return next(iter([*known, *others]), None)


def fits(row: PublishedFile, dataset: Dataset) -> bool:
    """Whether `row` speaks of `dataset`."""
    if row.views:
        return dataset.kind == "videos" and len(dataset.classes) == row.classes
    return (row.data, row.split) == (dataset.name, dataset.split)


def off(dense: Outcomes, backbone: str, row: PublishedFile) -> str:
    """A warning if the images show that the accuracy is not the published one; empty if they do not."""
    low, high = wilson(round(dense.accuracy * dense.count), dense.count, SURE)
    if low - SLACK <= row.top1 / 100 <= high + SLACK:
        return ""
    tested = f" ({row.views} views)" if row.views else ""
    file = "its card" if row.source == "bundled" else row.file
    found = f"{100 * dense.accuracy:.1f} % of {dense.count:,} images"
    return (
        f"{backbone} itself is right on {found}, but {row.top1:.1f} % was published of it on {row.data}{tested}, "
        f"{file}: mend weights, preprocessing or labels first."
    )

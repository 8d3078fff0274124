"""Compare the dense accuracy with the published one: if it differs, no figure of the run counts."""

from __future__ import annotations

from pathlib import PurePath

from backbones.base import Backbone
from backbones.checkpoints.branch import AVERAGED
from backbones.checkpoints.published import PublishedFile, files_of
from backbones.common.naming import bracketed
from suite.data.base import Dataset
from suite.stats.correctness import Outcomes, counted
from suite.stats.metric import MIOU

SURE = 0.9973  # three standard deviations
SLACK = 0.003  # rounding, resizing libraries and kernels differ by as much


def published_result(backbone: str, model: Backbone, dataset: Dataset) -> PublishedFile | None:
    """What was published of the weights of `model` on `dataset`; None if nothing is known.

    Weights from another file count as the published ones of `backbone`. Videos are recognised by
    the number of their classes.
    """
    if model.provenance is None:
        return None
    source, file = model.provenance.source, PurePath(model.provenance.path).name
    same, others = [], []
    ema = bracketed(backbone)[1].get("ema")
    for row in files_of(backbone):
        # `ema` asks for other weights than the published ones, or for the same
        if not is_about(row, dataset) or (ema is not None and ema != (row.layout in AVERAGED)):
            continue
        if row.source == source or (row.source != "bundled" and row.file == file):
            # first the file itself; any other published file of this backbone only after it
            same.append(row)
        if row.source != "bundled" and source != "bundled":
            others.append(row)
    return next(iter([*same, *others]), None)


def is_about(row: PublishedFile, dataset: Dataset) -> bool:
    """Whether `row` is a result on `dataset`."""
    if row.views:
        # Local copies of a video data set go by the names of their folders.
        return dataset.kind == "videos" and len(dataset.classes) == row.classes
    return (row.data, row.split, row.task) == (dataset.name, dataset.split, dataset.task)


def accuracy_warning(dense: Outcomes, backbone: str, row: PublishedFile) -> str:
    """Warn that the accuracy is not the published one; empty unless the images show it."""
    low, high = dense.interval(SURE)
    # The interval excuses few images, the slack excuses another resize; the rest is a fault.
    if low - SLACK <= row.top1 / 100 <= high + SLACK:
        return ""
    views = f" ({row.views} views)" if row.views else ""
    file = "its card" if row.source == "bundled" else row.file
    accuracy, images = f"{100 * dense.accuracy:.1f} %", counted(dense.count, dense.kind)
    found = f"is right on {accuracy} of {images}"
    if dense.metric == MIOU:
        found = f"has a mean IoU of {accuracy} on {images}"
    return (
        f"{backbone} itself {found}, but {row.top1:.1f} % was published of it on "
        f"{row.data}{views}, {file}: fix weights, preprocessing or labels first."
    )

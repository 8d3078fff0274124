"""The figure by which methods are compared, in words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """The main figure of a task, a share in [0, 1].

    ``name``   within a sentence
    ``column`` in tables and files
    ``title``  at its beginning, and as the head of a column
    ``axis``   below an axis, without a unit
    ``test``   by which two methods are compared on the same images
    """

    name: str
    column: str
    title: str
    axis: str
    test: str


TOP1 = Metric("top-1", "top1", "Top-1", "top-1 accuracy", "the exact paired test")
MIOU = Metric("mIoU", "miou", "mIoU", "mean IoU", "a test that exchanges the two image by image")
METRICS = {"classification": TOP1, "segmentation": MIOU}
"""By task."""

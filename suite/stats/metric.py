"""The figure by which methods are compared, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

TaskName = Literal["classification", "segmentation"]


@dataclass(frozen=True)
class Metric:
    """The main figure of a task, a share in [0, 1].

    ``name``   within a sentence
    ``column`` in exports; the tables in ``analyses/`` call the figure of any task ``top1``
    ``title``  at its beginning, and as the head of a column
    ``axis``   below an axis, without a unit
    ``test``   by which two methods are compared on the same images
    """

    name: str
    column: str
    title: str
    axis: str
    test: str

    def column_of(self, shared: str) -> str:
        """What a column such as ``top1_low``, as tables of all tasks have it, is called outside."""
        return shared.replace("top1", self.column)

    def named(self, document: Any) -> Any:
        """A document of mappings and lists with its keys as `column_of` calls them."""
        if isinstance(document, dict):
            return {self.column_of(name): self.named(each) for name, each in document.items()}
        return [self.named(each) for each in document] if isinstance(document, list) else document


TOP1 = Metric("top-1", "top1", "Top-1", "top-1 accuracy", "the exact paired test")
MIOU = Metric("mIoU", "miou", "mIoU", "mean IoU", "a test that exchanges the two image by image")
METRICS = {"classification": TOP1, "segmentation": MIOU}
"""By task."""

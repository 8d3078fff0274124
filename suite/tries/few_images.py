"""When images are too few to pick settings by, and the words for it."""

from __future__ import annotations

from suite.stats.correctness import counted
from suite.stats.metric import TOP1, Metric
from suite.stats.single import wilson

# On the bundled tables of classification a setting picked on 200 of the 1,000 images keeps 0.2 to
# 0.7 point less than the best one on the other images, by their mean over methods; one picked on 40
# keeps 0.7 to 1.3 less, and one time in ten 2 to 4. Of segmentation this was not measured.
FEW = 200


def few_images(count: int, kind: str, metric: Metric) -> str:
    """How uncertain tries on `count` images or videos are, if these are few; else empty."""
    if count >= FEW:
        return ""
    uncertain = ""
    # How uncertain a mean IoU is depends on the images.
    if metric == TOP1:
        low, high = wilson(round(count / 2), count)
        points = f"±{50 * (high - low):.1f} points (95 %)"
        uncertain = f": a top-1 of 50 % is uncertain by {points}"
    return f"{counted(count, kind)}, few to pick settings by{uncertain}; {FEW} or more would do"

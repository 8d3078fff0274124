"""The classes that pixels of a few images are given: by the truth, and under every cell."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from backbones.base import Backbone
from suite.data.base import IGNORED, Truth
from suite.evaluation.adaptive import Adaptive, evaluate_adaptive
from suite.evaluation.runner import embed
from suite.evaluation.segmentation import pairs
from suite.evaluation.tree import evaluate, jobs_for
from suite.plan.cells import Cell
from suite.stats.confusion import matrix_miou, summed

TRUTH = "truth"  # the label of its rows


def segmented_images(
    model: Backbone, images: Tensor, index: Tensor, truth: Truth, cells: Sequence[Cell]
) -> pd.DataFrame:
    """The table ``segmented``: a row an image and cell, and one an image for its truth.

    `images` (B, 3, S, S) are normalised, `index` (B,) their numbers in the data set, `truth`
    (B, S, S) the classes of their pixels. Image by image, since few are shown.
    """
    rows = []
    for row, number in enumerate(index.tolist()):
        place = {"backbone": cells[0].backbone, "image": number}
        own = {
            "label": TRUTH,
            "budget": None,
            "seed": 0,
            "image_miou": 1.0,
            "png": as_png(truth[row]),
        }
        rows.append(place | own)
        one = slice(row, row + 1)
        for cell, logits in answered(model, images[one], index[one], cells):
            at_pixels = interpolate(logits.float(), truth.shape[1:], mode="bilinear")
            classes = at_pixels.argmax(1)[0]
            named = classes.cpu().numpy().astype(np.uint8)
            rows.append(
                place
                | {
                    "label": cell.label,
                    "budget": cell.budget,
                    "seed": cell.seed,
                    "image_miou": image_miou(named, truth[row], logits.shape[1]),
                    "png": as_png(named),
                }
            )
    return pd.DataFrame(rows)


def answered(
    model: Backbone, image: Tensor, index: Tensor, cells: Sequence[Cell]
) -> list[tuple[Cell, Tensor]]:
    """The logits (1, K, h, w) of the cells that succeed on one image, in their order."""
    found: dict[str, Tensor] = {}
    with torch.inference_mode():
        for size in dict.fromkeys(cell.image_size for cell in cells):
            members = [cell for cell in cells if cell.image_size == size]
            sized, tokens = embed(model, image, index, size)
            labels = torch.zeros(1, dtype=torch.long)  # of the oracle, which takes no pixels
            jobs = jobs_for(members, sized, index, labels)
            for job, answer in evaluate(sized, tokens, jobs, lambda *_: None):
                if isinstance(answer, Tensor):
                    found[job.key] = answer
            for cell in members:
                if cell.adaptive:
                    steps = cell.steps()
                    mixed = evaluate_adaptive(sized, tokens, cell.key, steps, lambda *_: None)
                    if isinstance(mixed, Adaptive):
                        found[cell.key] = mixed.logits
    return [(cell, found[cell.key]) for cell in cells if cell.key in found]


def image_miou(named: Truth, truth: Truth, classes: int) -> float:
    """Mean IoU of the classes of one image's pixels, over those that occur in it."""
    codes, pixels = pairs(truth[None], named[None], truth[None] != IGNORED, classes)
    return matrix_miou(summed(list(codes), list(pixels), classes))


def as_png(classes: Truth) -> bytes:
    """Classes (S, S) as a grey PNG, whose values they are."""
    buffer = io.BytesIO()
    Image.fromarray(classes).save(buffer, format="PNG")
    return buffer.getvalue()

"""The record of a training in its file of weights: the classes, and which images it saw.

An image is known by a hash of its bytes, whatever its name and folder, so that a comparison can
leave out what a model was trained on. A picture that was saved anew is another one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open

from backbones.base import Backbone
from backbones.checkpoints.read import INDEX
from backbones.common.errors import UserError
from suite.data.base import Dataset, IntArray
from suite.data.loading.decode import fingerprint
from suite.data.loading.preprocess import READERS, Photographs

KEY = "mamba-token-suite training"  # of the record in a file's metadata
DIGITS = 16  # of a hash: among a million images two agree with a probability of 3e-8


@dataclass(frozen=True)
class Training:
    """What weights were trained on: ``classes`` by number, and hashes of the ``images``."""

    classes: tuple[str, ...]
    images: frozenset[str]

    def metadata(self) -> dict[str, str]:
        """The record as metadata of a safetensors file; equal ones as equal texts."""
        record = {"classes": list(self.classes), "images": "".join(sorted(self.images))}
        return {KEY: json.dumps(record)}


def training_of(model: Backbone) -> Training | None:
    """The record in the file that a model's weights are from; None if there is none.

    UserError for a damaged one, or where the file is gone.
    """
    origin = model.provenance
    if origin is None or origin.format != "safetensors" or origin.path.endswith(INDEX):
        return None
    try:
        with safe_open(Path(origin.path), framework="pt") as file:
            text = (file.metadata() or {}).get(KEY)
    except OSError as error:
        raise UserError(
            f"{origin.path} is no longer there, whose record tells which images a model was "
            "trained on: put it back"
        ) from error
    if text is None:
        return None
    try:
        record = json.loads(text)
        joined, classes = record["images"], tuple(map(str, record["classes"]))
        starts = range(0, len(joined), DIGITS)
        return Training(classes, frozenset(joined[start : start + DIGITS] for start in starts))
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(
            f"{origin.path} has a damaged record of its training: train it again, or take it out "
            f"of the file's metadata ('{KEY}')"
        ) from error


def hashes(dataset: Dataset, indices: Iterable[int]) -> list[str]:
    """A hash of each of these images; of pictures in files of their bytes, which are read."""

    def of_image(index: int) -> str:
        if isinstance(dataset, Photographs):
            content, _, _ = dataset.fetch(index)
        else:
            content = dataset.image(index).tobytes()
        return fingerprint(content)[:DIGITS]

    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(of_image, indices))


def seen_in_training(dataset: Dataset, indices: IntArray, images: frozenset[str]) -> list[bool]:
    """Whether each of these images is among the hashed ones of a training."""
    return [known in images for known in hashes(dataset, indices.tolist())]

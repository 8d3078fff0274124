"""Images in a file of NumPy arrays: ``own_dataset.py:arrays:FILE.npz``."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from backbones.common.errors import UserError
from backbones.common.paths import local_path
from suite.data.base import UNDIVIDED, Dataset, Manifest, Pixels, Request, Samples
from suite.data.loading.pixels import normalise, resize


class Arrays(Dataset):
    """``images`` (N, H, W, 3) of uint8, ``labels`` (N,) from 0, ``classes`` (K,) names."""

    name = "arrays"
    split = UNDIVIDED
    # of the images that the weights were trained on; these are fashion-clutter's
    mean, std = (0.435, 0.435, 0.435), (0.170, 0.170, 0.170)

    def __init__(self, file: Path) -> None:
        with np.load(file) as stored:
            self.images = stored["images"]
            self.labels = stored["labels"].astype(np.int64)
            self.classes = tuple(map(str, stored["classes"]))
        self.hash = hashlib.sha256(file.read_bytes()).hexdigest()

    def image(self, index: int) -> Pixels:
        """The original pixels of one image, (H, W, 3), for display."""
        return self.images[self.check_index(index)]

    def sample(self, index: int, image_size: int) -> Samples:
        """One image as a model takes it, (3, image_size, image_size)."""
        resized = resize(self.image(index)[None], image_size)
        return normalise(resized, self.mean, self.std)[0]

    def identity(self) -> Manifest:
        """All that decides on samples and labels: where any of it changes, cells run again."""
        return {"file": self.hash, "mean": self.mean, "std": self.std}


def arrays(request: Request) -> Arrays:
    """Open the file that stands after the colon."""
    if not request.path:
        raise UserError("arrays needs a file: write own_dataset.py:arrays:FILE.npz")
    return Arrays(local_path(request.path))

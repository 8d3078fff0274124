"""Make the bundled garments: ``python -m suite.data.images.bundle [FOLDER] [TARGET]``.

Writes ``dev.png`` and ``test.png`` (40 garments a row, lossless) and ``sources.csv`` (split, index
in the original file, label). The same files and version of the suite always give the same pixels
and rows.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from suite.data.base import Pixels
from suite.data.images.fashion_mnist_files import load_full
from suite.data.images.sources import ASSETS, ATLAS_COLUMNS, SIDE, Garments


def atlas(images: Pixels) -> Pixels:
    """One picture of `images` (N, 28, 28), 40 a row, the last row filled up with black."""
    padding = -len(images) % ATLAS_COLUMNS
    tiles = np.pad(images, ((0, padding), (0, 0), (0, 0)))
    rows = tiles.reshape(-1, ATLAS_COLUMNS, SIDE, SIDE).swapaxes(1, 2)
    return rows.reshape(-1, ATLAS_COLUMNS * SIDE)


def write_bundle(target: Path, splits: list[Garments]) -> None:
    """Write into `target` the atlas of each split's pool, and the table of all of them."""
    target.mkdir(parents=True, exist_ok=True)
    with (target / "sources.csv").open("w", newline="") as file:
        # The same bytes on every system: by itself the module ends lines in CRLF.
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["split", "source", "label"])
        for garments in splits:
            # The pool of dev and of test is what is bundled of them.
            for row in garments.pool:
                table.writerow([garments.split, garments.source[row], garments.labels[row]])
            picture = Image.fromarray(atlas(garments.images[garments.pool]))
            # Smaller, since it ships with the package.
            picture.save(target / f"{garments.split}.png", optimize=True)


def main(folder: str | None = None, target: str = str(ASSETS)) -> None:
    """Build from the original files in `folder` (default: found) into `target` (the package)."""
    source = Path(folder) if folder else None
    write_bundle(Path(target), [load_full(split, source) for split in ("dev", "test")])


if __name__ == "__main__":
    main(*sys.argv[1:])

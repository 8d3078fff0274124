"""Makes the bundled garments from the original files: ``python -m suite.data.images.bundle [FOLDER] [TARGET]``.

Writes ``dev.png`` and ``test.png`` (40 garments a row, lossless) and ``sources.csv`` (split, index
in the original file, label). The same files and version of the suite always give the same pixels
and rows.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from suite.data.images.fashion_mnist_files import load_full
from suite.data.images.sources import ASSETS, ATLAS_COLUMNS, SIDE, Garments


def atlas(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`images` (N, 28, 28) as one picture of 40 columns, the last row filled up with black."""
    rows = -(-len(images) // ATLAS_COLUMNS)
    tiles = np.zeros((rows * ATLAS_COLUMNS, SIDE, SIDE), np.uint8)
    tiles[: len(images)] = images
    return (
        tiles.reshape(rows, ATLAS_COLUMNS, SIDE, SIDE)
        .swapaxes(1, 2)
        .reshape(rows * SIDE, ATLAS_COLUMNS * SIDE)
    )


def write_bundle(target: Path, splits: list[Garments]) -> None:
    """Write the atlases and the table of `splits`, of each the garments of its pool, into `target`."""
    target.mkdir(parents=True, exist_ok=True)
    with (target / "sources.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["split", "source", "label"])
        for garments in splits:
            rows = zip(garments.source[garments.pool], garments.labels[garments.pool], strict=True)
            table.writerows([garments.split, int(source), int(label)] for source, label in rows)
    for garments in splits:
        picture = Image.fromarray(atlas(garments.images[garments.pool]))
        picture.save(target / f"{garments.split}.png", optimize=True)


def main(arguments: list[str]) -> None:
    """Build from the folder given first (default: looked for) into the one given second (default: the package)."""
    folder = Path(arguments[0]) if arguments else None
    target = Path(arguments[1]) if len(arguments) > 1 else Path(str(ASSETS))
    write_bundle(target, [load_full(split, folder) for split in ("dev", "test")])


if __name__ == "__main__":
    main(sys.argv[1:])

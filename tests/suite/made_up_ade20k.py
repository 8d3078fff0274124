"""A made-up ADE20K, of small pictures that show their own masks."""

from pathlib import Path

import numpy as np
from PIL import Image

SIZES = ((48, 36), (36, 50), (40, 40))  # width, height


def masked_picture(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture, and a mask with values 0 to 150 in blocks of 4 x 4, which it shows as its red."""
    width, height = SIZES[number % 3]
    rng = np.random.default_rng(number)
    blocks = rng.integers(0, 151, (-(-height // 4), -(-width // 4)))
    mask = np.kron(blocks, np.ones((4, 4)))[:height, :width].astype(np.uint8)
    picture = np.stack([mask, np.full_like(mask, 7), np.full_like(mask, 250)], 2)
    return picture, mask


def write_ade20k(root: Path) -> Path:
    """Write 20 images below `root`: sixteen to train on, four to evaluate."""
    for number in range(20):
        split, name = ("training", "train") if number < 16 else ("validation", "val")
        for kind in ("images", "annotations"):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
        picture, mask = masked_picture(number)
        file = f"ADE_{name}_{number:08d}"
        Image.fromarray(picture).save(root / "images" / split / f"{file}.jpg", quality=100)
        Image.fromarray(mask).save(root / "annotations" / split / f"{file}.png")
    return root

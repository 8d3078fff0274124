"""Pictures of the gallery: decoding, and drawing on them what became of each token."""

from __future__ import annotations

import base64
import io

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

Pixels = npt.NDArray[np.uint8]

DROPPED, SPECIAL = -1, -2
VEIL = (24, 27, 32)
# Ten hues in an order that sets neighbouring group numbers far apart.
GROUPS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee8866", "#44bb99", "#bbbbff", "#ffaabb")
SPECIAL_COLOUR = "#ffffff"
SIDE = 288  # the longest side of an embedded picture, pixels


def decode(png: bytes) -> Pixels | None:
    """The (H, W, 3) pixels of an image file, at most `SIDE` long; None if it is none."""
    try:
        with Image.open(io.BytesIO(png)) as image:
            picture = image.convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        return None
    picture.thumbnail((SIDE, SIDE))
    return np.asarray(picture, dtype=np.uint8)


def data_uri(pixels: Pixels) -> str:
    """`pixels` as a data URI: PNG for a small picture, JPEG for one that would weigh on the page."""
    buffer = io.BytesIO()
    small = pixels.shape[0] * pixels.shape[1] <= 128 * 128
    Image.fromarray(pixels).save(buffer, format="PNG" if small else "JPEG", quality=88)
    return f"data:image/{'png' if small else 'jpeg'};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def groups(owner: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """For each grid place the number of its group of two or more (from 0, by first place), -1 where it stands alone.

    Dropped places and those that live in a special token keep their own codes, `DROPPED - 1` and `SPECIAL - 1`.
    """
    numbers = np.full(len(owner), -1, dtype=np.int64)
    members, counts = np.unique(owner[owner >= 0], return_counts=True)
    for number, member in enumerate(members[counts > 1]):
        numbers[owner == member] = number
    numbers[owner == DROPPED] = DROPPED - 1
    numbers[owner == SPECIAL] = SPECIAL - 1
    return numbers


def overlay(pixels: Pixels, owner: npt.NDArray[np.int64], shape: tuple[int, int], cell: int = 16) -> Pixels:
    """`pixels` on a grid of `cell` pixels a token: kept clear, dropped veiled, merged tinted and rimmed by group."""
    height, width = shape
    finer = pixels.shape[0] > height * cell
    how = Image.Resampling.LANCZOS if finer else Image.Resampling.NEAREST
    picture = Image.fromarray(pixels).resize((width * cell, height * cell), how)
    drawn = np.asarray(picture, dtype=np.float64).copy()
    for place, number in enumerate(groups(owner)):
        row, column = divmod(place, width)
        patch = drawn[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell]
        if number == DROPPED - 1:
            patch[:] = 0.14 * patch + 0.86 * np.array(VEIL)
        elif number != -1:
            colour = SPECIAL_COLOUR if number == SPECIAL - 1 else GROUPS[number % len(GROUPS)]
            tint = np.array([int(colour[index : index + 2], 16) for index in (1, 3, 5)])
            patch[:] = 0.5 * patch + 0.5 * tint
            patch[:1], patch[-1:], patch[:, :1], patch[:, -1:] = tint, tint, tint, tint
    return drawn.round().astype(np.uint8)

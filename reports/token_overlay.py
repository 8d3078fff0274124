"""Pictures of the gallery: decoding, and drawing on them what became of each token."""

from __future__ import annotations

import base64
import io

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

DROPPED, SPECIAL = -1, -2
VEIL = (24, 27, 32)
RIM = "#ffffff"
SPECIAL_COLOUR = "#ffffff"
MOST_PIXELS = 1 << 24
SIDE = 288  # the longest side of an embedded picture, pixels


def decode(png: bytes) -> Pixels | None:
    """The (H, W, 3) pixels of an image file, at most `SIDE` long; None if it is none."""
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
            if image.width * image.height > MOST_PIXELS:
                return None
            picture = image.convert("RGB")
    except (
        Exception
    ):  # Pillow raises whatever its parsers meet; a picture that cannot be shown is left out
        return None
    picture.thumbnail((SIDE, SIDE))
    return np.asarray(picture, dtype=np.uint8)


def data_uri(pixels: Pixels) -> str:
    """`pixels` as a data URI: PNG for a small picture, JPEG for one that would weigh on the page."""
    buffer = io.BytesIO()
    small = pixels.shape[0] * pixels.shape[1] <= 128 * 128
    Image.fromarray(pixels).save(buffer, format="PNG" if small else "JPEG", quality=88)
    return f"data:image/{'png' if small else 'jpeg'};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def overlay(
    pixels: Pixels, owner: npt.NDArray[np.int64], shape: tuple[int, int], cell: int = 16
) -> Pixels:
    """`pixels` on a grid of `cell` pixels a token: kept clear, dropped veiled, merged in one colour and rimmed.

    The places of one merged token all take their mean colour, which is what the model still knows
    of them; a rim runs where a merged token meets another. Places that live in a special token are
    the special colour.
    """
    height, width = shape
    finer = pixels.shape[0] > height * cell
    how = Image.Resampling.LANCZOS if finer else Image.Resampling.NEAREST
    picture = Image.fromarray(pixels).resize((width * cell, height * cell), how)
    # (height, width, cell, cell, 3), a view of the picture by token
    drawn = (
        np.asarray(picture, dtype=np.float64)
        .reshape(height, cell, width, cell, 3)
        .swapaxes(1, 2)
        .copy()
    )
    owner = owner.reshape(shape)
    drawn[owner == DROPPED] = 0.14 * drawn[owner == DROPPED] + 0.86 * np.array(VEIL)
    members, counts = np.unique(owner[owner >= 0], return_counts=True)
    merged = np.isin(owner, members[counts > 1])
    for member in members[counts > 1]:
        drawn[owner == member] = drawn[owner == member].mean(axis=(0, 1, 2))
    drawn[owner == SPECIAL] = _colour(SPECIAL_COLOUR)
    _rim(drawn, owner, merged)
    return drawn.swapaxes(1, 2).reshape(height * cell, width * cell, 3).round().astype(np.uint8)


def _rim(
    drawn: npt.NDArray[np.float64], owner: npt.NDArray[np.int64], merged: npt.NDArray[np.bool_]
) -> None:
    """A line in the first row or column of pixels of every place whose neighbour above or left is of another token."""
    right = (owner[:, 1:] != owner[:, :-1]) & (merged[:, 1:] | merged[:, :-1])
    below = (owner[1:] != owner[:-1]) & (merged[1:] | merged[:-1])
    columns, rows = drawn[:, 1:, :, 0], drawn[1:, :, 0, :]
    columns[right] = _blend(columns[right])
    rows[below] = _blend(rows[below])


def _blend(line: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return 0.25 * line + 0.75 * _colour(RIM)


def _colour(text: str) -> npt.NDArray[np.float64]:
    return np.array([int(text[index : index + 2], 16) for index in (1, 3, 5)], dtype=np.float64)

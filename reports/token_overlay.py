"""Decoding of gallery pictures, and drawing of the fate of each token on them."""

from __future__ import annotations

import base64
import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor

Pixels = npt.NDArray[np.uint8]

DROPPED, SPECIAL = -1, -2
VEIL = (24, 27, 32)
RIM = "#ffffff"
SPECIAL_COLOUR = "#ffffff"
MOST_PIXELS = 1 << 24
SIDE = 288  # the longest side of an embedded picture, pixels


def decode(png: bytes) -> Pixels | None:
    """Return the pixels (H, W, 3) of a PNG file, at most `SIDE` long; None if it is damaged."""
    image = _opened(png)
    if image is None:
        return None
    picture = image.convert("RGB")
    picture.thumbnail((SIDE, SIDE))
    return np.asarray(picture, dtype=np.uint8)


def decode_classes(png: bytes) -> Pixels | None:
    """Return the classes (H, W) that a grey PNG file has as values; None if it is damaged."""
    image = _opened(png)
    return None if image is None or image.mode != "L" else np.asarray(image, dtype=np.uint8)


def _opened(png: bytes) -> Image.Image | None:
    """Return the picture in a PNG file; None if it is damaged, or too large."""
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
            return image.copy() if image.width * image.height <= MOST_PIXELS else None
    except Exception:
        # Pillow's parsers raise many types; a picture that cannot be decoded is left out
        return None


def data_uri(pixels: Pixels) -> str:
    """Return pixels as a data URI: PNG for a small picture, else JPEG, which is smaller."""
    buffer = io.BytesIO()
    small = pixels.shape[0] * pixels.shape[1] <= 128 * 128
    Image.fromarray(pixels).save(buffer, format="PNG" if small else "JPEG", quality=88)
    content = base64.b64encode(buffer.getvalue()).decode()
    return f"data:image/{'png' if small else 'jpeg'};base64,{content}"


def overlay(
    pixels: Pixels, owner: npt.NDArray[np.int64], shape: tuple[int, int], cell: int = 16
) -> Pixels:
    """Draw the fate of tokens on a picture, `cell` pixels a token.

    `owner` is the token that each position of the grid `shape` lives in. Kept positions are clear,
    dropped ones veiled. The positions of a merged token take their mean colour, which is what the
    model still knows of them, with a rim towards other tokens. Positions that live in a special
    token have the special colour.
    """
    height, width = shape
    # smoothing a picture that is enlarged would hide its pixels
    finer = pixels.shape[0] > height * cell
    how = Image.Resampling.LANCZOS if finer else Image.Resampling.NEAREST
    picture = Image.fromarray(pixels).resize((width * cell, height * cell), how)
    blocks = np.asarray(picture, dtype=np.float64).reshape(height, cell, width, cell, 3)
    # (height, width, cell, cell, 3): the picture by token
    drawn = blocks.swapaxes(1, 2).copy()
    owner = owner.reshape(shape)
    drawn[owner == DROPPED] = 0.14 * drawn[owner == DROPPED] + 0.86 * np.array(VEIL)
    members, counts = np.unique(owner[owner >= 0], return_counts=True)
    merged = np.isin(owner, members[counts > 1])
    for member in members[counts > 1]:
        drawn[owner == member] = drawn[owner == member].mean(axis=(0, 1, 2))
    drawn[owner == SPECIAL] = ImageColor.getrgb(SPECIAL_COLOUR)
    # a line between merged tokens and their neighbours above and to the left
    right = (owner[:, 1:] != owner[:, :-1]) & (merged[:, 1:] | merged[:, :-1])
    below = (owner[1:] != owner[:-1]) & (merged[1:] | merged[:-1])
    for lines, between in ((drawn[:, 1:, :, 0], right), (drawn[1:, :, 0, :], below)):
        lines[between] = 0.25 * lines[between] + 0.75 * np.array(ImageColor.getrgb(RIM))
    return drawn.swapaxes(1, 2).reshape(height * cell, width * cell, 3).round().astype(np.uint8)

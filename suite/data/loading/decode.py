"""From the bytes of an image file, which may be anything, to RGB pixels."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from backbones.common.errors import UserError
from suite.data.base import one_line

# Formats that decode inside Pillow; EPS and the like would start other programs.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
# Pillow warns above this many pixels (a 256 MB RGB image) and refuses twice as many; here the first
# is refused.
MAX_PIXELS = 89_478_485
# The short side is resized to some hundred pixels, so a thread of pixels would become a sea of
# them.
MAX_ASPECT = 100
# Of a file: no image of that many pixels takes more.
MAX_BYTES = 1 << 29
# What Pillow warns of is refused here, in words of our own.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def _flatten(picture: Image.Image) -> Image.Image:
    """RGB of a picture with transparency, seen on white."""
    layered = picture.convert("RGBA")
    white = Image.new("RGBA", layered.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, layered).convert("RGB")


def _grey16(picture: Image.Image, name: str) -> Image.Image:
    """RGB of a picture of 16 bits a pixel (the high 8 of them)."""
    levels = np.asarray(picture).astype(np.int64)
    if levels.min() < 0 or levels.max() > 0xFFFF:
        raise UserError(f"{name} has more than 16 bits a pixel: convert it to 8")
    return Image.fromarray((levels >> 8).astype(np.uint8)).convert("RGB")


def _to_rgb(picture: Image.Image, name: str) -> Image.Image:
    """RGB of a loaded picture of any mode."""
    if picture.mode.startswith("I"):
        return _grey16(picture, name)
    if picture.mode == "F":
        raise UserError(f"{name} has floating-point pixels: convert it to 8 bits")
    if picture.has_transparency_data:
        return _flatten(picture)
    return picture.convert("RGB")


def check_size(width: int, height: int, name: str) -> None:
    """UserError if a picture of this size takes too much memory, as it is or once its short side is resized."""
    if width * height > MAX_PIXELS:
        raise UserError(f"{name} has {width}x{height} pixels: shrink it or take it out")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise UserError(
            f"{name} has {width}x{height} pixels, too long for its breadth: crop it or take it out"
        )


def read_bytes(path: Path) -> bytes:
    """What the file holds; UserError, one line, if it cannot be read or is too large for an image."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}): fetch it again or take it out"
        ) from error
    if len(content) > MAX_BYTES:
        raise UserError(
            f"{path} has more than {MAX_BYTES >> 20} MB, too many for an image: take it out"
        )
    return content


def decode(content: bytes, name: str, upright: bool = True) -> NDArray[np.uint8]:
    """RGB pixels (H, W, 3) of the image file `content`; UserError, one line naming `name`, if there are none.

    Grey, CMYK and palette images become RGB, 16 bits become 8, transparency is seen on white, the
    first frame counts. `upright` turns the picture as its EXIF says.
    """
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as picture:
            check_size(picture.width, picture.height, name)
            picture.load()
            turned = ImageOps.exif_transpose(picture) if upright else picture
            return np.array(_to_rgb(turned, name))
    except Image.DecompressionBombError as error:
        raise UserError(
            f"{name} has more pixels than is safe ({one_line(error)}): shrink it or take it out"
        ) from error
    except UnidentifiedImageError as error:
        raise UserError(
            f"{name} is not an image of a known kind ({', '.join(FORMATS)}): take it out"
        ) from error
    except UserError:
        raise
    except (
        Exception
    ) as error:  # Pillow raises whatever its parsers meet, a TypeError or a ZeroDivisionError too
        raise UserError(
            f"{name} is damaged ({one_line(error)}): fetch it again or take it out"
        ) from error

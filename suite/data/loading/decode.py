"""From the bytes of an image file, which may be damaged or hostile, to RGB pixels."""

from __future__ import annotations

import hashlib
import os
import time
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, features

from backbones.common.errors import UserError
from suite.data.base import Pixels, one_line

# Formats that decode inside Pillow; EPS and the like would start other programs.
FORMATS = ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM"]
SUFFIXES = [".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"]
SUFFIXES += [".ppm", ".pgm"]
if features.check("avif"):
    FORMATS.append("AVIF")
    SUFFIXES.append(".avif")
# Pillow warns above this many pixels (a 256 MB RGB image) and refuses only twice as many.
MAX_PIXELS = 89_478_485
# The short side is resized to some hundred pixels, which would make a thread of pixels huge.
MAX_ASPECT = 100
# No image of MAX_PIXELS takes a larger file.
MAX_BYTES = 1 << 29
# File systems keep times to 2 s at the coarsest.
RESOLUTION = 2_000_000_000
# `check_size` refuses what Pillow warns of.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def _grey16(picture: Image.Image, name: str) -> Image.Image:
    """RGB of a grey picture with 16 bits a pixel, of which the high 8 are kept."""
    levels = np.asarray(picture).astype(np.int64)
    # Pillow has no mode of 16 bits for every format: the values may be of 32.
    if levels.min() < 0 or levels.max() > 0xFFFF:
        raise UserError(f"{name} has more than 16 bits a pixel: convert it to 8")
    return Image.fromarray((levels >> 8).astype(np.uint8)).convert("RGB")


def _to_rgb(picture: Image.Image, name: str) -> Image.Image:
    """RGB of a loaded picture of any mode, transparency shown on white."""
    if picture.mode.startswith("I"):
        return _grey16(picture, name)
    if picture.mode == "F":
        raise UserError(f"{name} has floating-point pixels: convert it to 8 bits")
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    return picture.convert("RGB")


def check_size(width: int, height: int, name: str) -> None:
    """UserError if a picture of this size needs too much memory, before or after its resize."""
    if width * height > MAX_PIXELS:
        raise UserError(f"{name} has {width}x{height} pixels: shrink it or take it out")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise UserError(
            f"{name} has {width}x{height} pixels, too long for its breadth: crop it or take it out"
        )


def stamp(status: os.stat_result) -> str:
    """Size, times and place of a file: while they are the same, so are its bytes."""
    # The time of the last change, unlike that of the content, cannot be set back.
    times = f"{status.st_mtime_ns}-{status.st_ctime_ns}"
    return f"{status.st_size}-{times}-{status.st_ino}"


def fresh(status: os.stat_result) -> bool:
    """Whether a file changed so lately that another change might leave it the same `stamp`."""
    return time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) < RESOLUTION


def fingerprint(*parts: bytes) -> str:
    """Hash of some bytes, by which an image is known."""
    total = hashlib.blake2b(digest_size=16)
    for part in parts:
        total.update(part)
    return total.hexdigest()


def unreadable(path: Path, error: OSError) -> UserError:
    """What to say of a file that cannot be read."""
    return UserError(f"{path} cannot be read ({error.strerror}): fetch it again or take it out")


def read_bytes(path: Path) -> bytes:
    """Read a file; UserError if it cannot be read or is too large for an image."""
    return read_stamped(path)[0]


def read_stamped(path: Path) -> tuple[bytes, str]:
    """`read_bytes`, and the `stamp` of the file, empty if it changed just now."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise unreadable(path, error) from error
    if len(content) > MAX_BYTES:
        raise UserError(
            f"{path} has more than {MAX_BYTES >> 20} MB, too many for an image: take it out"
        )
    return content, "" if fresh(status) else stamp(status)


def hash_file(path: Path) -> tuple[str, str]:
    """`fingerprint` of a file of any size, and its `stamp`, empty if it changed just now."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            content = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
    except OSError as error:
        raise unreadable(path, error) from error
    return content.hexdigest(), "" if fresh(status) else stamp(status)


def is_picture(path: Path) -> bool:
    """Whether a file is an image by its suffix, or without one by its content."""
    if path.suffix:
        return path.suffix.lower() in SUFFIXES
    try:
        with Image.open(path, formats=FORMATS):
            return True
    except Exception:  # as in `decode`
        return False


def glance(path: Path) -> None:
    """UserError if the image at `path` is damaged, as far as its header and its end tell.

    Of PNGs all checksums are verified; formats other than these and JPEG are decoded.
    """
    whole = False
    try:
        with path.open("rb") as file, Image.open(file, formats=FORMATS) as picture:
            check_size(picture.width, picture.height, str(path))
            if picture.format == "JPEG":
                file.seek(-2, os.SEEK_END)
                whole = file.read() == b"\xff\xd9"
            elif picture.format == "PNG":
                picture.verify()
                whole = True
    except Exception:
        whole = False
    if not whole:
        # It says what is wrong, if anything: many a sound JPEG has something after its end.
        decode(read_bytes(path), str(path))


def decode(content: bytes, name: str, upright: bool = True) -> Pixels:
    """RGB pixels (H, W, 3) of an image file; UserError naming `name` if it cannot be decoded.

    Grey, CMYK and palette images become RGB, 16 bits become 8, transparency is shown on white, and
    of several frames the first is taken. `upright` applies the EXIF orientation.
    """
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as picture:
            # The header alone has been read so far: a bomb is refused before it is decoded.
            check_size(picture.width, picture.height, name)
            picture.load()
            turned = ImageOps.exif_transpose(picture) if upright else picture
            return np.array(_to_rgb(turned, name))
    except UserError:
        raise
    except Image.DecompressionBombError as error:
        reason = one_line(error)
        raise UserError(
            f"{name} has more pixels than is safe ({reason}): shrink it or take it out"
        ) from error
    except UnidentifiedImageError as error:
        raise UserError(
            f"{name} is not an image of a known kind ({', '.join(FORMATS)}): take it out"
        ) from error
    except Exception as error:
        # Pillow lets through any error of its parsers, such as TypeError or ZeroDivisionError.
        raise UserError(
            f"{name} is damaged ({one_line(error)}): fetch it again or take it out"
        ) from error

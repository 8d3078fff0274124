import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from backbones.common.errors import UserError
from suite.data.loading.decode import decode

RED = (200, 30, 40)


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def plain(size: tuple[int, int] = (6, 4)) -> Image.Image:
    return Image.new("RGB", size, RED)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds almost nothing."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0" * 64)
    chunks = [
        struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c))
        for c in (body, data, b"IEND")
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_colour_is_untouched(kind: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    assert np.array_equal(decode(encoded(Image.fromarray(pixels), kind), "x"), pixels)


def test_grey_is_three_equal_channels() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    result = decode(encoded(Image.fromarray(pixels), "PNG"), "x")
    assert np.array_equal(result, np.stack([pixels] * 3, axis=2))


def test_one_bit_is_black_and_white() -> None:
    picture = Image.new("1", (2, 1))
    picture.putpixel((1, 0), 1)
    assert decode(encoded(picture, "PNG"), "x")[0, :, 0].tolist() == [0, 255]


def test_cmyk_comes_out_as_its_colour() -> None:
    result = decode(encoded(plain((16, 16)).convert("CMYK"), "JPEG", quality=95), "x")
    assert np.abs(result.astype(int) - RED).max() < 12


def test_palette_with_transparency_is_seen_on_white() -> None:
    picture = Image.new("P", (3, 1))
    picture.putpalette([*RED, 0, 0, 0, 10, 20, 30])
    for place in range(3):
        picture.putpixel((place, 0), place)
    result = decode(encoded(picture, "PNG", transparency=bytes([255, 0, 128])), "x")
    assert result[0, 0].tolist() == list(RED)
    assert result[0, 1].tolist() == [255, 255, 255]
    assert np.abs(result[0, 2].astype(int) - [132, 137, 142]).max() <= 1


def test_alpha_of_grey_and_colour() -> None:
    for mode, clear in (("LA", (0, 0)), ("RGBA", (0, 0, 0, 0))):
        assert decode(encoded(Image.new(mode, (2, 2), clear), "PNG"), "x").min() == 255


def test_sixteen_bits_keep_the_high_eight() -> None:
    levels = np.array([[0, 255, 256, 0x8000, 0xFFFF]], np.uint16)
    for kind in ("PNG", "TIFF"):
        assert decode(encoded(Image.fromarray(levels), kind), "x")[0, :, 1].tolist() == [
            0,
            0,
            1,
            128,
            255,
        ]


def test_deeper_pixels_are_named() -> None:
    for values in (np.full((2, 2), 70000, np.int32), np.full((2, 2), 0.5, np.float32)):
        with pytest.raises(UserError, match=r"photo\.tif has .* convert it to 8"):
            decode(encoded(Image.fromarray(values), "TIFF"), "photo.tif")


def test_exif_orientation_is_optional() -> None:
    picture = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6))
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(picture, "PNG", exif=exif)
    assert np.array_equal(decode(content, "x")[..., 0], np.rot90(np.asarray(picture), -1))
    assert np.array_equal(decode(content, "x", upright=False)[..., 0], np.asarray(picture))


def test_first_frame_counts() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(content, "x")[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_truncated_is_one_line_with_file_and_fix(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = encoded(Image.fromarray(noise), kind)
    with pytest.raises(UserError, match=r"cat\.jpg is damaged.*fetch it again") as caught:
        decode(content[: len(content) // 2], "cat.jpg")
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_000, 30_000])
def test_bombs_are_refused_before_decoding(side: int) -> None:
    with pytest.raises(UserError, match=r"bomb\.png has .*pixels.*shrink it"):
        decode(png_header(side, side), "bomb.png")


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"<svg/>"]
)
def test_other_files_are_named(content: bytes) -> None:
    with pytest.raises(UserError, match=r"notes\.png is not an image"):
        decode(content, "notes.png")


def outcome(content: bytes) -> tuple[np.ndarray | None, str]:
    try:
        return decode(content, "x"), ""
    except UserError as error:
        return None, str(error)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"]), st.data())
def test_damage_never_escapes_as_anything_but_a_user_error(kind: str, data: st.DataObject) -> None:
    content = bytearray(encoded(plain(), kind))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    pixels, message = outcome(bytes(content[: data.draw(st.integers(0, len(content)))]))
    assert message.startswith("x ") if pixels is None else pixels.shape[2:] == (3,)
    assert "\n" not in message

"""Data sets that mean harm: each is refused in one line with exit code 2, or gives a harmless page."""

import gzip
import json
import os
import re
import struct
import zlib
from collections.abc import Callable
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from backbones.errors import UserError
from suite.cli import printable, run
from suite.data import decode, idx, open_dataset, parquet

Build = Callable[[Path], str]
Specs = Callable[..., object]
Capture = pytest.CaptureFixture[str]


def png(size: tuple[int, int] = (40, 40)) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", size, (90, 120, 30)).save(buffer, "PNG")
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def claims(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds almost nothing."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")


def swollen_text() -> bytes:
    """A PNG whose comment unpacks to 100 MB."""
    whole = png()
    return whole[:33] + chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 100_000_000)) + whole[33:]


def gif_screen(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\0\0\0" + b"," + struct.pack("<HHHH", 0, 0, 1, 1) + b"\0;"


def bmp(width: int, height: int) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + info


def images(content: bytes, name: str = "a.png") -> Build:
    """A folder of three classes, the first image of which is `content`."""

    def build(root: Path) -> str:
        for label in ("a", "b", "c"):
            (root / "data" / label).mkdir(parents=True)
            (root / "data" / label / "x.png").write_bytes(png())
        (root / "data" / "a" / name).write_bytes(content)
        return f"imagefolder:{root / 'data'}"

    return build


def linked(make: Callable[[Path], None]) -> Build:
    def build(root: Path) -> str:
        spec = images(png())(root)
        (root / "secret").mkdir()
        (root / "secret" / "key.png").write_bytes(png())
        make(root)
        return spec

    return build


def table(**columns: object) -> Build:
    def build(root: Path) -> str:
        pq.write_table(pa.table(columns), root / "a.parquet")
        return f"parquet:{root / 'a.parquet'}"

    return build


def named(names: str) -> Build:
    """A Parquet file whose metadata gives the classes as `names`, a JSON text."""

    def build(root: Path) -> str:
        stored = '{"info":{"features":{"label":{"names":' + names + "}}}}"
        data = pa.table({"image": [png()] * 3, "label": [0, 1, 2]}).replace_schema_metadata({"huggingface": stored})
        pq.write_table(data, root / "a.parquet")
        return f"parquet:{root / 'a.parquet'}"

    return build


def deep(root: Path) -> str:
    spec = images(png())(root)
    folder = root / "data" / "a"
    for _ in range(90):
        folder = folder / "d"
        folder.mkdir()
    return spec


def pipe(root: Path) -> str:
    spec = images(png())(root)
    os.mkfifo(root / "data" / "a" / "pipe.png")
    (root / "data" / "a" / "zz.png").write_bytes(b"junk")
    return spec


def bytes_name(root: Path) -> str:
    spec = images(png())(root)
    os.rename(os.fsencode(root / "data" / "c"), os.fsencode(root / "data") + b"/c\xff")
    return spec


def gzip_bomb(root: Path) -> str:
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (root / f"{name}-ubyte.gz").write_bytes(gzip.compress(b"\0" * 3_000_000))
    return f"fashion-mnist --data-dir {root}"


def written(text: str) -> Build:
    def build(root: Path) -> str:
        (root / "clips").mkdir()
        (root / "secret.mp4").write_bytes(b"x")
        (root / "clips" / "list.csv").write_text(text)
        return f"video:{root / 'clips' / 'list.csv'}"

    return build


HOSTILE: dict[str, tuple[Build, str]] = {
    "pixels": (images(claims(60_000, 60_000)), r"a\.png has more pixels than is safe .*: shrink it"),
    "pixels just too many": (images(claims(10_000, 9_000)), r"a\.png has 10000x9000 pixels: shrink it"),
    "gif pixels": (images(gif_screen(65_535, 65_535)), r"a\.png has more pixels than is safe"),
    "bmp pixels": (images(bmp(2_000_000_000, 1)), r"a\.png has .*pixels"),
    "a thread": (images(png((4100, 40))), r"a\.png has 4100x40 pixels, too long for its breadth"),
    "an upright thread": (images(png((1, 5000))), r"a\.png has 1x5000 pixels, too long for its breadth"),
    "no height": (images(claims(40, 0)), r"a\.png "),
    "swollen text": (images(swollen_text()), r"a\.png is damaged"),
    "postscript": (images(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF"), r"a\.png is not an image"),
    "svg": (images(b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"), "is not an image"),
    "zip": (images(b"PK\3\4" + b"\0" * 100), r"a\.png is not an image"),
    "pickle": (images(b"\x80\x04cos\nsystem\n(S'touch owned'\ntR."), r"a\.png is not an image"),
    "escapes in a name": (images(b"junk", "a\x1b[2J\n\r.png"), r"a\\x1b\[2J\\n\\r\.png is not an image"),
    "right to left": (images(b"junk", "a\u202egnp.png"), r"a\\u202egnp\.png is not an image"),
    "bytes in a name": (bytes_name, r"has a class whose name is no text \('c\\udcff'\): rename it"),
    "a file too large": (images(png() + b"\0" * 2_000_000), r"a\.png has more than \d+ MB, too many for an image"),
    "a link to a secret": (
        linked(lambda root: (root / "data" / "a" / "k.png").symlink_to(root / "secret" / "key.png")),
        r"k\.png leads out of",
    ),
    "a link up": (linked(lambda root: (root / "data" / "a" / "k.png").symlink_to("../../secret/key.png")), "leads out"),
    "a link to a device": (linked(lambda root: (root / "data" / "a" / "k.png").symlink_to("/dev/zero")), "leads out"),
    "a link to a folder": (linked(lambda root: (root / "data" / "d").symlink_to(root / "secret")), "link to a folder"),
    "a link to itself": (
        linked(lambda root: (root / "data" / "a" / "up").symlink_to(root / "data")),
        "link to a folder",
    ),
    "a depth": (deep, "lies more than 64 folders below"),
    "a pipe": (pipe, r"zz\.png is not an image"),
    "no images in parquet": (table(image=["/etc/passwd"] * 3, label=[0, 1, 2]), "row 0 has no image bytes"),
    "a label beyond": (table(image=[png()] * 3, label=[0, 1, 2_000_000_000]), "number its classes from 0"),
    "labels below": (table(image=[png()] * 3, label=[0, 1, -1]), "label -1"),
    "a bomb in parquet": (
        table(image=[claims(60_000, 60_000)] * 3, label=[0, 1, 2]),
        r"row 0 has more pixels than is safe",
    ),
    "no parquet": (lambda root: images(png())(root).replace("imagefolder:", "parquet:"), "has no .parquet files"),
    "half a character": (named('["a", "b", "\\ud800"]'), r"name is no text \('\\ud800'\)"),
    "a swollen gzip": (gzip_bomb, "holds more than 1 MB: fetch it again"),
    "a list that leads up": (written("../secret.mp4 0\n"), "leads out of"),
    "a list that leads away": (written("/etc/passwd 0\n"), "leads out of"),
    "a list of everything": (written("secret.mp4 0\n" * 3), "3 of the 3 clips in"),
    "a list with a network": (written("http://example.com/a.mp4 0\n"), "1 of the 1 clips"),
    "path in a split": (lambda root: f"{images(png())(root)} --split ../../etc", "give the name alone"),
    "an absolute split": (lambda root: f"{images(png())(root)} --split /etc", "give the name alone"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("case", HOSTILE)
def test_harm_is_refused_in_one_line(
    case: str, tmp_path: Path, small: Specs, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, message = HOSTILE[case]
    monkeypatch.setattr(decode, "MAX_BYTES", 1 << 20)
    monkeypatch.setattr(idx, "MAX_BYTES", 1 << 20)
    spec, *options = build(tmp_path).split(" --")
    given = [part for option in options for part in f"--{option}".split(" ", 1)]
    command = ["plan", "--backbones", "vim_mini", "--checkpoint", "random", "--images", "all", "--threads", "1"]
    code = run([*command, "--methods", "mtr", "--batch", "64", "--data", spec, *given])
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert code == 2, out
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert re.search(message, lines[0]), lines[0]
    assert lines[0].isprintable()
    assert not (Path.cwd() / "owned").exists()


def test_metadata_nested_too_deep_is_no_metadata(tmp_path: Path) -> None:
    data = open_dataset(named("[" * 100_000)(tmp_path))
    assert data.classes == ("0", "1", "2")


def test_a_row_group_that_fills_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = table(image=[png()] * 50, label=[0] * 50)(tmp_path)
    monkeypatch.setattr(parquet, "MOST_BYTES", 100)
    with pytest.raises(UserError, match=r"a\.parquet has a row group of [\d,]+ bytes: write it anew"):
        open_dataset(spec)
    monkeypatch.undo()
    monkeypatch.setattr(parquet, "MOST_ROWS", 49)
    with pytest.raises(UserError, match=r"a\.parquet states 50 rows: split it"):
        open_dataset(spec)


def test_what_steers_a_terminal_is_shown_as_text() -> None:
    assert (
        printable("\x1b]0;owned\x07 a\tb\r\nc\u202e\udcff é 漢") == "\\x1b]0;owned\\x07 a\\tb\\r\\nc\\u202e\\udcff é 漢"
    )


MARKUP = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    "$\\frac{_^ & %{{7*7}} \x1b[2J",
)


class Elements(HTMLParser):
    """Tags with their attributes, and what the scripts of a page hold."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts.append(data)


def test_markup_in_the_names_of_classes_and_files_is_harmless(tmp_path: Path, small: Specs, capsys: Capture) -> None:
    for number, name in enumerate(MARKUP):
        folder = tmp_path / "data" / name.replace("/", "\u2215")
        folder.mkdir(parents=True)
        for image in range(2):
            Image.new("RGB", (40, 40), (80 * number, 40 * image, 7)).save(folder / f"<script>{image}$_.png")
    command = ["compare", "--backbones", "vim_mini", "--checkpoint", "random", "--images", "all", "--threads", "1"]
    data = ["--data", f"imagefolder:{tmp_path / 'data'}", "--methods", "mtr", "--budgets", "0.4", "--no-baselines"]
    assert run([*command, *data, "--runs", str(tmp_path / "runs"), "--gallery", "6", "--json"]) == 0
    page = Elements(Path(json.loads(capsys.readouterr().out)["report"]).read_text("utf-8"))
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert not [attributes for tag, attributes in page.tags if tag == "img" and attributes.get("src") == "x"]
    assert not [text for text in page.scripts if text.lstrip().startswith("alert")]
    assert any("alert(1)" in text for text in page.scripts)  # the names are there, as data

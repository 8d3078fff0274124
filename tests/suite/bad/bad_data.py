"""Data sets: images, folders, Parquet files, the originals, lists of videos."""

import gzip
import os
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from bad import RUN, Bad
from PIL import Image

Build = Callable[[Path], str]


def png(size: tuple[int, int] = (40, 40)) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", size, (90, 120, 30)).save(buffer, "PNG")
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def claims(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds almost nothing."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + chunk(b"IDAT", zlib.compress(b"\0" * 64))
        + chunk(b"IEND", b"")
    )


def swollen_text() -> bytes:
    """A PNG whose comment unpacks to 100 MB."""
    whole = png()
    return (
        whole[:33] + chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 100_000_000)) + whole[33:]
    )


def gif_screen(width: int, height: int) -> bytes:
    return (
        b"GIF89a"
        + struct.pack("<HH", width, height)
        + b"\0\0\0"
        + b","
        + struct.pack("<HHHH", 0, 0, 1, 1)
        + b"\0;"
    )


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
        data = pa.table({"image": [png()] * 3, "label": [0, 1, 2]}).replace_schema_metadata(
            {"huggingface": stored}
        )
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
    return f"fashion-mnist --source {root}"


def written(text: str) -> Build:
    def build(root: Path) -> str:
        (root / "clips").mkdir()
        (root / "secret.mp4").write_bytes(b"x")
        (root / "clips" / "list.csv").write_text(text)
        return f"video:{root / 'clips' / 'list.csv'}"

    return build


def clips(text: str, name: str = "list.csv") -> Build:
    """A list of folders of frames, one of which is there."""

    def build(root: Path) -> str:
        (root / "clips" / "one").mkdir(parents=True)
        (root / "clips" / "one" / "1.png").write_bytes(png())
        (root / "clips" / name).write_text(text)
        return f"frames:{root / 'clips' / name}"

    return build


def picture(kind: str, mode: str = "RGB") -> bytes:
    buffer = BytesIO()
    Image.new(mode, (40, 40)).save(buffer, kind)
    return buffer.getvalue()


def loose(root: Path) -> str:
    (root / "data").mkdir()
    (root / "data" / "a.png").write_bytes(png())
    return f"imagefolder:{root / 'data'}"


def divided(root: Path) -> str:
    for split in ("train", "val"):
        (root / "data" / split / "a").mkdir(parents=True)
        (root / "data" / split / "a" / "x.png").write_bytes(png())
    return f"imagefolder:{root / 'data'} --split tset"


def torn_parquet(root: Path) -> str:
    spec = table(image=[png()] * 3, label=[0, 1, 2])(root)
    path = root / "a.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    return spec


def scribbled_parquet(root: Path) -> str:
    spec = table(image=[png()] * 3, label=[0, 1, 2])(root)
    path = root / "a.parquet"
    content = bytearray(path.read_bytes())
    content[4:200] = b"\xff" * 196
    path.write_bytes(content)
    return spec


def one_class(root: Path) -> str:
    (root / "data" / "a").mkdir(parents=True)
    (root / "data" / "a" / "x.png").write_bytes(png())
    return f"imagefolder:{root / 'data'}"


def foreign_idx(root: Path) -> str:
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (root / f"{name}-ubyte.gz").write_bytes(gzip.compress(b"\0\0\x08\x01" + b"\0" * 100))
    return f"fashion-mnist --source {root}"


def cut_idx(root: Path) -> str:
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (root / f"{name}-ubyte.gz").write_bytes(gzip.compress(b"\0" * 5000)[:-9])
    return f"fashion-mnist --source {root}"


MORE: dict[str, tuple[Build, str]] = {
    "a cut png": (images(png()[:-30]), r"a\.png is damaged.*: fetch it again"),
    "a cut jpeg": (images(picture("JPEG")[:200]), r"a\.png is damaged.*: fetch it again"),
    "an empty image": (images(b""), "is not an image of a known kind.*take it out"),
    "an icon": (images(picture("ICO")), "is not an image of a known kind"),
    "a document": (images(picture("PDF")), "is not an image of a known kind"),
    "numbers with a point": (
        images(picture("TIFF", "F")),
        "has floating-point pixels: convert it to 8 bits",
    ),
    "a page as an image": (
        images(b"<html><body>404</body></html>"),
        "is not an image of a known kind",
    ),
    "images without a class": (loose, "sort its images into one folder a class"),
    "an unknown split": (divided, "no split 'tset': choose train or val with --split"),
    "too few classes": (one_class, r"has 1 class but the model's head has 3: give.*classes=1\]"),
    "no synsets": (
        lambda root: images(png())(root).replace("imagefolder:", "imagenet:"),
        "which is no synset: use",
    ),
    "parquet without images": (
        table(picture=[png()] * 3, label=[0, 1, 2]),
        "has no column 'image'.*: rename",
    ),
    "parquet without labels": (table(image=[png()] * 3), "has no column 'label'.*: rename"),
    "labels in words": (
        table(image=[png()] * 3, label=["a", "b", "c"]),
        "number the classes from 0",
    ),
    "labels with a point": (
        table(image=[png()] * 3, label=[0.0, 1.0, 2.0]),
        "number the classes from 0",
    ),
    "a label missing": (
        table(image=[png()] * 3, label=[0, None, 2]),
        "1 rows without a label: take them out",
    ),
    "an image missing": (
        table(image=[png(), None, png()], label=[0, 1, 2]),
        "row 1 has no image bytes.*: store",
    ),
    "parquet of no rows": (
        table(image=pa.array([], pa.binary()), label=pa.array([], pa.int64())),
        "has no rows: give",
    ),
    "a torn parquet": (torn_parquet, "is not a readable Parquet file.*: fetch it again"),
    "a scribbled parquet": (scribbled_parquet, "a.parquet.*damaged.*fetch"),
    "junk in parquet": (
        table(image=[b"junk"] * 3, label=[0, 1, 2]),
        "row 0 is not an image of a known kind",
    ),
    "foreign originals": (foreign_idx, "checksum differs.*: remove it and fetch it again"),
    "cut originals": (cut_idx, "cannot be read.*: fetch it again"),
    "an empty list": (clips(""), "is empty: give a list of clips, a line each"),
    "a list without labels": (
        clips("one\n"),
        "line 1 is not a path and a class number: write 'PATH LABEL'",
    ),
    "a label below zero": (clips("one -1\n"), "line 1 is not a path and a class number"),
    "a label in words": (clips("one jump\n"), "line 1 is not a path and a class number"),
    "a label without end": (
        clips(f"one {'9' * 5000}\n"),
        "line 1 is not a path and a class number",
    ),
    "a label of a billion": (clips("one 999999999\n"), "number its classes from 0"),
    "a missing clip": (
        clips("one 0\ntwo 1\n"),
        "1 of the 2 clips.*: fetch them or take their lines out",
    ),
    "a list in another script": (clips("one \u0663\n"), "line 1 is not a path and a class number"),
    "Kinetics without clips": (
        clips("label,youtube_id,time_start,time_end,split\n"),
        "no clips below its header",
    ),
    "Kinetics without times": (
        clips("label,youtube_id,time_start,time_end,split\na,one,x,y,val\n"),
        "without times: fetch the list again",
    ),
    "Kinetics with times without end": (
        clips("label,youtube_id,time_start,time_end,split\na,one,inf,1e999,val\n"),
        "without times: fetch the list again",
    ),
    "Kinetics with a column missing": (
        clips("label,youtube_id,time_start,time_end,split\na,one,0\n"),
        "line 2 has 3 columns, not 5: fetch it again",
    ),
    "Kinetics in several splits": (
        clips("label,youtube_id,time_start,time_end,split\na,one,0,1,val\na,one,0,1,train\n"),
        "several splits: choose train or val with --split",
    ),
    "views of none": (
        lambda root: f"{clips('one 0')(root)} --views 0x3",
        "views '0x3' are not CLIPSxCROPS: write 4x3",
    ),
}
TABLE: dict[str, tuple[Build, str]] = {
    "pixels": (
        images(claims(60_000, 60_000)),
        r"a\.png has more pixels than is safe .*: shrink it",
    ),
    "pixels just too many": (
        images(claims(10_000, 9_000)),
        r"a\.png has 10000x9000 pixels: shrink it",
    ),
    "gif pixels": (images(gif_screen(65_535, 65_535)), r"a\.png has more pixels than is safe"),
    "bmp pixels": (images(bmp(2_000_000_000, 1)), r"a\.png has .*pixels"),
    "a thread": (images(png((4100, 40))), r"a\.png has 4100x40 pixels, too long for its breadth"),
    "an upright thread": (
        images(png((1, 5000))),
        r"a\.png has 1x5000 pixels, too long for its breadth",
    ),
    "no height": (images(claims(40, 0)), r"a\.png "),
    "swollen text": (images(swollen_text()), r"a\.png is damaged"),
    "postscript": (
        images(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF"),
        r"a\.png is not an image",
    ),
    "svg": (
        images(b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"),
        "is not an image",
    ),
    "zip": (images(b"PK\3\4" + b"\0" * 100), r"a\.png is not an image"),
    "pickle": (images(b"\x80\x04cos\nsystem\n(S'touch owned'\ntR."), r"a\.png is not an image"),
    "escapes in a name": (
        images(b"junk", "a\x1b[2J\n\r.png"),
        r"a\\x1b\[2J\\n\\r\.png is not an image",
    ),
    "right to left": (images(b"junk", "a\u202egnp.png"), r"a\\u202egnp\.png is not an image"),
    "bytes in a name": (bytes_name, r"has a class whose name is no text \('c\\udcff'\): rename it"),
    "a file too large": (
        images(png() + b"\0" * 2_000_000),
        r"a\.png has more than \d+ MB, too many for an image",
    ),
    "a link to a secret": (
        linked(
            lambda root: (root / "data" / "a" / "k.png").symlink_to(root / "secret" / "key.png")
        ),
        r"k\.png leads out of",
    ),
    "a link up": (
        linked(lambda root: (root / "data" / "a" / "k.png").symlink_to("../../secret/key.png")),
        "leads out",
    ),
    "a link to a device": (
        linked(lambda root: (root / "data" / "a" / "k.png").symlink_to("/dev/zero")),
        "leads out",
    ),
    "a link to a folder": (
        linked(lambda root: (root / "data" / "d").symlink_to(root / "secret")),
        "link to a folder",
    ),
    "a link to itself": (
        linked(lambda root: (root / "data" / "a" / "up").symlink_to(root / "data")),
        "link to a folder",
    ),
    "a depth": (deep, "lies more than 64 folders below"),
    "a pipe": (pipe, r"zz\.png is not an image"),
    "no images in parquet": (
        table(image=["/etc/passwd"] * 3, label=[0, 1, 2]),
        "row 0 has no image bytes",
    ),
    "a label beyond": (
        table(image=[png()] * 3, label=[0, 1, 2_000_000_000]),
        "number its classes from 0",
    ),
    "labels below": (table(image=[png()] * 3, label=[0, 1, -1]), "label -1"),
    "a bomb in parquet": (
        table(image=[claims(60_000, 60_000)] * 3, label=[0, 1, 2]),
        r"row 0 has more pixels than is safe",
    ),
    "no parquet": (
        lambda root: images(png())(root).replace("imagefolder:", "parquet:"),
        "has no .parquet files",
    ),
    "half a character": (named('["a", "b", "\\ud800"]'), r"name is no text \('\\ud800'\)"),
    "a swollen gzip": (gzip_bomb, "holds more than 1 MB: fetch it again"),
    "a list that leads up": (written("../secret.mp4 0\n"), "leads out of"),
    "a list that leads away": (written("/etc/passwd 0\n"), "leads out of"),
    "a list of everything": (written("secret.mp4 0\n" * 3), "3 of the 3 clips in"),
    "a list with a network": (written("http://example.com/a.mp4 0\n"), "1 of the 1 clips"),
    "path in a split": (
        lambda root: f"{images(png())(root)} --split ../../etc",
        "give the name alone",
    ),
    "an absolute split": (
        lambda root: f"{images(png())(root)} --split /etc",
        "give the name alone",
    ),
}


LINE = f"plan {RUN} --data"
ROWS = [Bad(f"data: {what}", LINE, says, build) for what, (build, says) in (TABLE | MORE).items()]

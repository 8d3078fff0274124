"""Whatever lies in a folder of images: no traceback, no cropped number, and no file lost unsaid."""

import io
import json
import os
import random
import re
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backbones import BACKBONES
from backbones.common.errors import UserError
from suite.cli import run
from suite.data import check_labels, open_dataset
from suite.data.images.imagefolder import ImageFolder
from suite.execution.images import problems
from suite.system.encoding import never_fail_to_print

CLASSES = (
    *("cat", "Cat", "CAT2", "cat10", "cat2", "7", "07", "0", "10", "2", "100", "n01440764"),
    *("猫", "कु", "дом", "a,b", "[x=1]", "c:d", "--help", "$HOME", "%s", "two words", "a=b", "~"),
    *("tab\there", "new\nline", "trains", "tests of it", "#recycled", "e\u0301", "\u202eabc"),
)
# Names of other encodings, which are no text here.
FOREIGN = (b"caf\xe9", "猫".encode("gbk"), b"\xff\xfe")
SPLITS = ("train", "val", "Test_Set", "TRAINING", "validation", "dev")
FORMATS = {
    **{".png": "PNG", ".PNG": "PNG", ".jpg": "JPEG", ".JPEG": "JPEG", ".jpe": "JPEG"},
    **{".jfif": "JPEG", ".bmp": "BMP", ".webp": "WEBP", ".gif": "GIF", ".tif": "TIFF"},
    **{".ppm": "PPM", "": "PNG"},
}
JUNK = (
    *("notes.txt", "a.jpg~", "a.jpg.part", "b.png.txt", "labels.csv", "Thumbs.db", "desktop.ini"),
    *(
        os.fsdecode(b"\xff"),
        os.fsdecode(b"x.\xe9"),
        ".DS_Store",
        "._a.jpg",
        ".hidden.png",
        "README",
        "x.npy",
        "v.mp4",
        "a.svg",
        "odd.",
        "猫.txt",
    ),
)
THUMBNAILS = ("@eaDir", "__MACOSX", ".thumbnails", "#recycle", "Lost+Found")
Placed = Callable[[random.Random, pytest.MonkeyPatch, Path], str]
ENCODINGS = ("utf-8", "ascii", "gbk", "iso-8859-1", "koi8-r", "cp1252", "shift_jis")
SETTINGS = (
    "--checkpoint random --methods stride --no-baselines --no-across-schedules --budgets 0.1"
    " --protocol tokens --images all --batch-size 4 --gallery 0 --device cpu --threads 1"
    " --kernel reference --no-report --name run"
)


@cache
def picture(kind: str, level: int) -> bytes:
    """A small file of this format."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), level, np.uint8)).save(buffer, kind)
    return buffer.getvalue()


@dataclass
class Ledger:
    """What was drawn into a folder: the files to measure, those of them that are damaged, the
    entries to pass over, and the names of all classes."""

    files: set[str] = field(default_factory=set)
    damaged: set[str] = field(default_factory=set)
    passed: int = 0
    classes: list[str] = field(default_factory=list)
    refused: str = ""


def fill(draw: random.Random, folder: Path, root: Path, ledger: Ledger) -> None:
    """Put images, damaged ones and junk into a class folder, some of them deeper."""
    for number in range(draw.randint(0, 4)):
        place = folder / draw.choice(["", "", "sub", "sub/deeper"])
        place.mkdir(parents=True, exist_ok=True)
        suffix = draw.choice(list(FORMATS))
        stem = os.fsdecode(draw.choice([b"", b"", "猫".encode(), b"x y", *FOREIGN])) + str(number)
        content = picture(FORMATS[suffix], 20 * number)
        damage = draw.random() < 0.15 and suffix != ""
        if damage:
            content = draw.choice([b"", b"no picture", content[: len(content) // 2]])
        (place / f"{stem}{suffix}").write_bytes(content)
        name = (place / f"{stem}{suffix}").relative_to(root).as_posix()
        ledger.files.add(name)
        if damage:
            ledger.damaged.add(name)
    for name in draw.sample(JUNK, draw.choice([0, 0, 1, 3])):
        (folder / name).write_bytes(b"junk")
        ledger.passed += 1
    if draw.random() < 0.15:
        thumbnails = folder / draw.choice(THUMBNAILS)
        thumbnails.mkdir()
        (thumbnails / "thumb.jpg").write_bytes(picture("JPEG", 9))
        ledger.passed += 1
    if draw.random() < 0.1:
        os.mkfifo(folder / "pipe.png")
        ledger.passed += 1


def drawn(draw: random.Random, root: Path) -> Ledger:
    """Draw the class folders of `root`, and what lies beside them."""
    ledger = Ledger()
    names = draw.sample(CLASSES, draw.randint(1, 5))
    if draw.random() < 0.3:
        names = [str(number) for number in draw.sample(range(120), len(names))]
    if draw.random() < 0.1:
        names.append(os.fsdecode(draw.choice(FOREIGN)))
    for name in names:
        (root / name).mkdir(parents=True)
        fill(draw, root / name, root, ledger)
    ledger.classes = names
    if len(names) == 1:
        ledger.refused = "has a single class"
    if "\\udc" in ascii(names):
        ledger.refused = "whose name is no text"
    if not ledger.files:
        ledger.refused = "has no images in class folders"
    if draw.random() < 0.3:
        for name in draw.sample([*JUNK, "loose.png"], 2):
            (root / name).write_bytes(picture("PNG", 3) if name == "loose.png" else b"junk")
            ledger.passed += 1
    if draw.random() < 0.15:
        (root / draw.choice(THUMBNAILS)).mkdir()
        ledger.passed += 1
    return ledger


def passed_over(notes: list[str]) -> int:
    """How many entries the notes count as passed over."""
    counts = [re.match(r"passed over as no images of a class: ([\d,]+) \(", note) for note in notes]
    return sum(int(match[1].replace(",", "")) for match in counts if match)


def assert_whole(printed: str, run_folder: Path) -> None:
    """Every figure of the table stands in what was printed, in one piece."""
    for path in (run_folder / "cells").glob("*.json"):
        record = json.loads(path.read_text())
        if record["status"] == "ok":
            figure = f"{100 * record['metrics']['top1']:.1f}"
            assert re.search(rf"(?<![\d.]){re.escape(figure)}(?![\d.])", printed), figure


def opened(ledger: Ledger, root: Path, split: str) -> None:
    """Open a drawn folder: every file is measured, passed over or damaged."""
    if ledger.refused:
        with pytest.raises(UserError) as error:
            check_labels(open_dataset(f"imagefolder:{root}", split or None), len(ledger.classes))
        assert ledger.refused in str(error.value), ledger
        return
    data = open_dataset(f"imagefolder:{root}", split or None)
    assert isinstance(data, ImageFolder)
    assert sorted(data.names) == sorted(ledger.files), ledger
    assert passed_over(list(data.notes)) == ledger.passed, (data.notes, ledger)
    damaged = problems(list(range(len(data))), data.image)
    assert {data.names[image] for image in damaged} == ledger.damaged, ledger


def measured(draw: random.Random, ledger: Ledger, root: Path, split: str, placed: Placed) -> None:
    """Measure a drawn folder on a drawn terminal; the same holds for what is printed and stored."""
    encoding, width, skip = draw.choice(ENCODINGS), draw.randint(40, 200), draw.random() < 0.7
    runs = root.with_name(f"{root.name} runs")
    backbone = f"vim_few[classes={len(ledger.classes)}]"
    line = ["compare", "--runs", str(runs), *SETTINGS.split(), "--data", f"imagefolder:{root}"]
    line += ["--backbones", backbone, *(["--split", split] if split else [])]
    line += ["--skip-damaged"] if skip else []
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding, write_through=True)
    with pytest.MonkeyPatch.context() as patch:
        where = placed(draw, patch, root.parent)
        patch.setenv("COLUMNS", str(width))
        with redirect_stdout(stream), redirect_stderr(stream):
            never_fail_to_print()
            code = run(line)
    printed = buffer.getvalue().decode(encoding, "replace")
    case = f"in {encoding}, {width} columns, {where}: {ledger}\n{printed}"
    assert "Traceback" not in printed, case
    refused = ledger.refused
    if ledger.damaged and (not skip or ledger.damaged == ledger.files):
        refused = refused or "damaged"
    if refused:
        assert code == 2, case
        assert printed.count("error: ") == 1, case
        return
    assert code == 0, case
    data = json.loads((runs / "run" / "dataset.json").read_text())
    assert data["images"] == len(ledger.files) - len(ledger.damaged), case
    assert len(data.get("left_out", [])) == len(ledger.damaged), case
    assert passed_over(data.get("notes", [])) == ledger.passed, case
    assert sorted(data["classes"]) == sorted(ledger.classes), case
    assert_whole(printed, runs / "run")


def tried(seed: int, folder: Path, placed: Placed | None = None) -> None:
    """One drawn folder, opened, or measured where the home folder is `placed`."""
    draw = random.Random(seed)
    root = folder / f"data{seed}"
    split = draw.choice(["", "", draw.choice(SPLITS)])
    ledger = drawn(draw, root / split)
    if split and draw.random() < 0.5:
        (root / "another" / "cat").mkdir(parents=True)
    if placed:
        measured(draw, ledger, root, split, placed)
    else:
        opened(ledger, root, split)


def at_home(folder: Path) -> None:
    """Measure a plain folder where machine code is kept, which the others would wait for."""
    ledger = Ledger({f"{name}/a.png" for name in "ab"}, classes=["a", "b"])
    for name in ledger.files:
        (folder / "plain" / name).parent.mkdir(parents=True)
        (folder / "plain" / name).write_bytes(picture("PNG", 7))
    measured(random.Random(0), ledger, folder / "plain", "", lambda *_: "as usual")


@pytest.fixture(autouse=True)
def _registered(small: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    mini = BACKBONES._added["vim_mini"]
    monkeypatch.setitem(BACKBONES._added, "vim_few", partial(mini, patch=10, stride=10))


def test_drawn_folders(tmp_path: Path, placed: Placed) -> None:
    at_home(tmp_path)
    for seed in range(30):
        tried(seed, tmp_path, None if seed % 6 else placed)


@pytest.mark.slow
def test_drawn_folders_for_a_minute(tmp_path: Path, placed: Placed) -> None:
    at_home(tmp_path)
    end, seed = time.monotonic() + 60, 10_000
    while time.monotonic() < end:
        tried(seed, tmp_path, None if seed % 2 else placed)
        seed += 1
    assert seed > 10_060

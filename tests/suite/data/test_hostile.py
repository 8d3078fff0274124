"""Names that mean harm give a harmless page; data sets that are refused are in tests/suite/bad."""

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from backbones.common.errors import printable
from suite.cli import run

Specs = Callable[..., object]
Capture = pytest.CaptureFixture[str]


def test_what_steers_a_terminal_is_shown_as_text() -> None:
    assert (
        printable("\x1b]0;owned\x07 a\tb\r\nc\u202e\udcff é 漢")
        == "\\x1b]0;owned\\x07 a\\tb\\r\\nc\\u202e\\udcff é 漢"
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


def test_markup_in_the_names_of_classes_and_files_is_harmless(
    tmp_path: Path, small: Specs, undrawn: None, capsys: Capture
) -> None:
    for number, name in enumerate(MARKUP):
        folder = tmp_path / "data" / name.replace("/", "\u2215")
        folder.mkdir(parents=True)
        for image in range(2):
            Image.new("RGB", (40, 40), (80 * number, 40 * image, 7)).save(
                folder / f"<script>{image}$_.png"
            )
    command = [
        "compare",
        "--backbones",
        "vim_mini",
        "--checkpoint",
        "random",
        "--images",
        "all",
        "--threads",
        "1",
    ]
    data = [
        "--data",
        f"imagefolder:{tmp_path / 'data'}",
        "--methods",
        "mtr",
        "--budgets",
        "0.4",
        "--no-baselines",
        "--no-across-schedules",
    ]
    assert run([*command, *data, "--runs", str(tmp_path / "runs"), "--gallery", "6", "--json"]) == 0
    page = Elements(Path(json.loads(capsys.readouterr().out)["report"]).read_text("utf-8"))
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert not [
        attributes for tag, attributes in page.tags if tag == "img" and attributes.get("src") == "x"
    ]
    assert not [text for text in page.scripts if text.lstrip().startswith("alert")]
    assert any("alert(1)" in text for text in page.scripts)  # the names are there, as data

"""A run that means harm, every string of it: the page, the figures and the tables are harmless."""

import csv
import json
import re
import shutil
import struct
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import reports

BROWSER = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
STRINGS = (
    "</script><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "<svg/onload=document.title='owned'>",
    "\" onmouseover=\"document.title='owned'\" x=\"",
    "' autofocus onfocus='alert(1)",
    "<!--<script>", "]]>", "&lt;script&gt;alert(1)&lt;/script&gt;",
    "javascript:alert(1)", "<a href='javascript:alert(1)'>x</a>", "<iframe src=https://example.com></iframe>",
    "<link rel=stylesheet href=//example.com/x.css>", "<style>@import url(//example.com/x.css)</style>",
    "<base href=//example.com/>", "<meta http-equiv=refresh content='0;url=//example.com'>",
    "{{ 7 * 7 }}{% for x in y %}", "${alert(1)}", "%{customdata}", "%s%n%x",
    "=cmd|' /C calc'!A0", "+1+cmd|'!A0", "-2+3+cmd|'!A0", "@SUM(1+1)*cmd|'!A0", "\t=1+1", "\r=1+1", "\n=1+1", " =1+1",
    "\uff1d1+1",
    "\\input{/etc/passwd}", "\\write18{touch owned}", "$\\frac{", "^^5cinput{x}", "100 % & # _ { } ~ ^",
    "| a | b |\n| - | - |", "[x](javascript:alert(1))", "![x](http://example.com/x.png)", "`code`", "# head", "**bold**",
    "\x1b[2J\x1b]0;owned\x07", "a\u202egnp.exe", "\u2066x\u2069\u200b\ufeff", "a\x00b", "\u2028alert(1)\u2029", "\U000e0041",
    "../../../etc/passwd", "/etc/passwd", "..\\..\\x", "CON", "a/b", "x" * 5000,
    "a\u0301\u0327" * 200,
)  # fmt: skip
# What the page may link to: places in itself, its own pictures, and the files beside it.
OWN = ("#", "data:image/", "figures/", "tables/")
OURS = 4  # script elements of the page


class Page(HTMLParser):
    """Elements with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))


def stained(value: Any, turn: Iterator[str]) -> Any:
    """`value` with every string in it, keys of mappings included, replaced by the next hostile one."""
    if isinstance(value, str):
        return next(turn)
    if isinstance(value, list):
        return [stained(item, turn) for item in value]
    if isinstance(value, dict):
        return {key: stained(item, turn) for key, item in value.items()}
    return value


def around() -> Iterator[str]:
    while True:
        yield from STRINGS


def stain(folder: Path) -> Path:
    """Every string of a run that nothing is looked up by replaced, each label by one of its own throughout."""
    turn = around()
    labels: dict[str, str] = {}

    def label(text: Any) -> Any:
        return labels.setdefault(
            text, text if text in ("none", "random") else f"{text} {next(turn)}"
        )

    for path in sorted((folder / "cells").glob("*.json")):
        cell = json.loads(path.read_text())
        kept = {
            key: cell[key] for key in ("status", "family", "method", "flops_convention", "backbone")
        }
        cell = (
            stained(cell, turn)
            | kept
            | {"label": label(cell["label"]), "spec": label(cell["label"])}
        )
        cell["options"] = {text: text for text in STRINGS}
        path.write_text(json.dumps(cell))
    for path in sorted((folder / "analyses").glob("*.parquet")):
        frame = pd.read_parquet(path)
        for name in ("label", "reference", "one", "other"):
            if name in frame and frame[name].dtype == object:
                frame[name] = frame[name].map(label)
        for name in ("why", "sentence"):
            if name in frame:
                frame[name] = [next(turn) for _ in range(len(frame))]
        frame.to_parquet(path)
    for name in ("dataset.json", "environment.json", "analyses/headline.json"):
        found = stained(json.loads((folder / name).read_text()), turn)
        found |= {"classes": [*STRINGS, *STRINGS][:60]} if name == "dataset.json" else {}
        found |= {text: text for text in STRINGS}
        (folder / name).write_text(json.dumps(found))
    spec = yaml.safe_load((folder / "spec.yaml").read_text())
    spec |= {
        "checkpoint": STRINGS[0],
        "source": STRINGS[1],
        "views": STRINGS[2],
        "name": STRINGS[0],
    }
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    return folder


@pytest.fixture(scope="module")
def stained_folder(tmp_path_factory: pytest.TempPathFactory, harmful_folder: Path) -> Path:
    """A run of nothing but harm, its report built."""
    folder = tmp_path_factory.mktemp("stained") / "run"
    shutil.copytree(harmful_folder, folder)
    reports.build(stain(folder))
    return folder


def test_the_page_has_no_element_that_is_not_ours(stained_folder: Path) -> None:
    text = (stained_folder / "report" / "index.html").read_text(encoding="utf-8")
    page = Page(text)
    tags = [tag for tag, _ in page.elements]
    assert tags.count("script") == OURS
    assert tags.count("style") == 1
    # Drawings are of matplotlib's elements alone, and none of them brings a style of its own.
    drawn = {"svg", "g", "defs", "path", "use", "image", "rect", "clippath"}
    drawings = re.findall(r'<svg [^>]*role="img".*?</svg>', text, re.DOTALL)
    assert len(drawings) > 5
    for drawing in drawings:
        assert {tag for tag, _ in Page(drawing).elements} <= drawn
    assert not {"iframe", "base", "object", "embed", "form", "video"} & set(tags)
    for tag, attributes in page.elements:
        assert not [
            name
            for name in attributes
            if name.startswith("on") or name in ("srcdoc", "formaction", "autofocus")
        ]
        for name in ("src", "href", "srcset", "action", "xlink:href", "data", "poster"):
            value = attributes.get(name) or ""
            assert value == "" or value.startswith(OWN) or value == "data:,", (
                f"<{tag} {name}={value[:60]}>"
            )
        assert "javascript:" not in (attributes.get("style") or "")
    assert [attributes for tag, attributes in page.elements if attributes.get("http-equiv")] == [
        attributes
        for tag, attributes in page.elements
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]


def test_figures_hold_no_script(stained_folder: Path) -> None:
    files = list((stained_folder / "report" / "figures").iterdir())
    assert files
    assert all(re.fullmatch(r"[A-Za-z0-9-]+\.(png|svg)", path.name) for path in files)
    for path in files:
        if path.suffix == ".svg":
            for tag, attributes in Page(path.read_text("utf-8")).elements:
                assert tag not in ("script", "foreignobject", "a", "animate", "set")
                links = [attributes.get(name) or "#" for name in ("href", "xlink:href")]
                assert all(link.startswith(OWN) for link in links)
                assert not [name for name in attributes if name.startswith("on")]


def test_no_table_is_run_by_what_reads_it(stained_folder: Path) -> None:
    tables = list((stained_folder / "report" / "tables").iterdir())
    for path in tables:
        text = path.read_text("utf-8")
        if path.suffix == ".csv":
            for row in csv.reader(text.splitlines(keepends=True)):
                for cell in row:
                    number = re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", cell)
                    assert number or cell.lstrip()[:1] not in tuple("=+-@\uff1d"), (
                        f"{path.name}: {cell[:40]!r}"
                    )
        elif path.suffix == ".tex":
            body = text.partition("\\toprule")[2]
            assert not re.search(r"\\(input|write|include|openout|immediate|catcode)\b", body)
            assert "^^" not in body
        else:
            assert "<" not in text
            assert not re.search(r"(?<!\\)\]\(", text)
            assert len({len(re.split(r"(?<!\\)\|", line)) for line in text.splitlines()}) == 1
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text), path.name


def test_nothing_is_written_but_the_report(stained_folder: Path, harmful_folder: Path) -> None:
    beside = {path.name for path in stained_folder.iterdir()}
    assert beside == {"report"} | {path.name for path in harmful_folder.iterdir()}
    assert {path.name for path in stained_folder.parent.iterdir()} == {"run"}
    assert {path.name for path in (stained_folder / "report").iterdir()} == {
        "index.html",
        "figures",
        "tables",
    }


@pytest.mark.slow
@pytest.mark.skipif(not BROWSER, reason="no Chromium on this machine: install the package chromium")
def test_a_browser_shows_it_and_does_nothing_else(stained_folder: Path) -> None:
    from playwright.sync_api import sync_playwright

    noise: list[str] = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: noise.append(message.text))
        page.on("pageerror", lambda error: noise.append(str(error)))
        page.on("dialog", lambda dialog: noise.append(dialog.message))
        page.on(
            "request",
            lambda request: noise.append(request.url) if is_foreign(request.url) else None,
        )
        page.goto((stained_folder / "report" / "index.html").as_uri())
        page.evaluate(
            "() => document.querySelectorAll('details').forEach(part => { part.open = true; })"
        )
        for slider in page.locator("input[type=range]").all():
            slider.focus()
            page.keyboard.press("End")
        for canvas in page.locator("canvas[tabindex]").all()[:20]:
            canvas.focus()
            page.keyboard.press("ArrowRight")
        page.mouse.move(400, 400)
        page.wait_for_timeout(500)
        owned = page.evaluate("() => document.title === 'owned'")
        browser.close()
    assert not owned
    assert noise == []


def is_foreign(url: str) -> bool:
    return not url.startswith(("data:", "blob:")) and not url.endswith("/report/index.html")


@pytest.mark.usefixtures("undrawn")
def test_pictures_that_would_fill_the_memory_are_left_out(fresh: Any) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 64))
        + chunk(b"IEND", b"")
    )
    folder = fresh(labels=("mtr", "random"), budgets=(0.4,))
    path = folder / "analyses" / "images.parquet"
    frame = pd.read_parquet(path)
    frame["png"] = [bomb if number % 2 else b"junk" for number in range(len(frame))]
    frame.to_parquet(path)
    assert "This run kept no pictures" in reports.build(folder).read_text("utf-8")


def test_numbers_that_are_none_are_dashes(fresh: Any) -> None:
    folder = fresh(labels=("mtr", "random"))
    odd = [float("nan"), float("inf"), -float("inf"), 1e308, -1e308, 0.0]
    for number, path in enumerate(sorted((folder / "cells").glob("*.json"))):
        cell = json.loads(path.read_text())
        cell |= {
            "seed": odd[number % 6],
            "images": "many",
            "token_ratio": [1],
            "total": {"flops": odd[number % 6]},
        }
        path.write_text(json.dumps(cell))
    for name in ("statistics", "foreground", "kept_tokens"):
        path = folder / "analyses" / f"{name}.parquet"
        frame = pd.read_parquet(path)
        for column in frame.select_dtypes("float").columns.difference(["budget"]):
            frame[column] = np.resize(odd, len(frame))
        frame.to_parquet(path)
    # What is drawn of other tables has no such numbers.
    for name in ("gallery", "images", "token_overlap", "method_similarity", "first_errors"):
        (folder / "analyses" / f"{name}.parquet").unlink()
    page = reports.build(folder).read_text("utf-8")
    data = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)
    assert data
    assert not re.search(r"\bNaN\b|Infinity", data.group(1))
    json.loads(data.group(1))

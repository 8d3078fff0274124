"""The page: whole in one file, silent on the network, deaf to hostile strings."""

import base64
import csv
import errno
import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from backbones.common.errors import UserError
from reports import aggregate, first_screen, page, page_panels
from reports import page_context as context
from reports.formatting import typeset
from reports.report_data import ReportData
from suite.store.unstated import UNSTATED

VOID = {"meta", "link", "img", "input", "br", "path", "use", "image"}
# What a page may link to: places in itself, and the files of its report.
LINKS = re.compile(r"#|data:|(figures|tables|paper)/[A-Za-z0-9-]+\.(png|svg|pdf|csv|md|tex)$")


class Page(HTMLParser):
    """Elements of a page, with a check that they close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in {"script", "style"}:
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def _source(folder: Path) -> str:
    return (folder / "report" / "index.html").read_text(encoding="utf-8")


def _data(text: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    parsed: dict[str, object] = json.loads(found.group(1))
    return parsed


@pytest.fixture(scope="module", params=["plain", "hostile"])
def folder(request: pytest.FixtureRequest, run_folder: Path, hostile_folder: Path) -> Path:
    return run_folder if request.param == "plain" else hostile_folder


def test_one_small_file_that_asks_the_network_for_nothing(folder: Path) -> None:
    text = _source(folder)
    page = Page(text)
    assert len(text.encode()) < 15_000_000
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "poster", "action"):
            value = attributes.get(name) or ""
            assert value == "" or LINKS.match(value), f"<{tag} {name}={value[:60]}>"
            if value.startswith(("figures/", "tables/")):
                assert (folder / "report" / value).is_file(), value
    styles = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert styles
    assert not any("url(" in style or "@import" in style for style in styles)
    policy = next(
        meta["content"]
        for meta in page.all("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_no_foreign_string_becomes_an_element(run_folder: Path, hostile_folder: Path) -> None:
    plain, hostile = Page(_source(run_folder)), Page(_source(hostile_folder))
    assert len(hostile.all("script")) == len(plain.all("script")) == 4
    assert len(hostile.all("img")) == len(plain.all("img")) == 0
    assert not [
        name for _, attributes in hostile.elements for name in attributes if name.startswith("on")
    ]
    assert any("<script>alert(1)</script>" in words for words in ["".join(hostile.text)])
    charts = _data(_source(hostile_folder))["charts"]
    assert "<script" not in json.dumps(charts).lower()
    assert "<img" not in json.dumps(charts).lower()


def test_headings_captions_and_words_for_every_picture(folder: Path) -> None:
    page = Page(_source(folder))
    assert len(page.all("h1")) == 1
    assert all(
        drawing.get("aria-label") or drawing.get("aria-hidden") for drawing in page.all("svg")
    )
    assert all(plot.get("aria-label") for plot in page.all("div") if "data-chart" in plot)
    tables = page.all("table")
    assert len(tables) > 7
    ids = [attributes["id"] for _, attributes in page.elements if attributes.get("id")]
    assert len(ids) == len(set(ids))
    for table in tables:
        # the tables in cards of methods are plain Markdown
        assert table.get("aria-label") or table.get("aria-labelledby") in ids or not table
    for _, attributes in page.elements:
        for target in [
            attributes.get("aria-labelledby"),
            (attributes.get("href") or "").partition("#")[2],
        ]:
            assert not target or target in ids


def test_a_caption_stands_once(run_folder: Path) -> None:
    text = _source(run_folder)
    captions = re.findall(r"<figcaption[^>]*>(.*?)(?:<span|</figcaption)", text, re.DOTALL)
    assert len(captions) > 7
    assert len(set(captions)) == len(captions)


def test_the_first_screen_says_who_leads(run_folder: Path, report: ReportData) -> None:
    page = Page(_source(run_folder))
    words = "".join(page.text).replace("\u00a0", " ")
    for row in first_screen.budgets(report):
        assert row["answer"] in words
        assert len(row["answer"].replace(" %", "%").split()) <= 20
        assert row["verdict"] in words
    opening = [one for one in page.all("p") if one.get("class") == "answer" and "hidden" not in one]
    assert [one["data-u"] for one in opening] == ["0.4"]


def test_the_words_of_the_run_are_on_the_page(run_folder: Path, report: ReportData) -> None:
    words = "".join(Page(_source(run_folder)).text).replace("\u00a0", " ")
    headline = json.loads((run_folder / "analyses" / "headline.json").read_text())
    for expected in [
        headline["headline"],
        *headline["paragraphs"],
        headline["resolution"][0]["sentence"],
        *map(typeset, headline["blind"]),
    ]:
        assert expected.replace("\u00a0", " ") in words
    assert "Room to rank: a blind baseline loses visibly" in words
    marks = report.marks
    unbeaten = [
        marks["vim_nano", row["budget"]].best
        for row in headline["resolution"]
        if row["can_rank"] and marks["vim_nano", row["budget"]].none_shown
    ]
    assert unbeaten
    for name in unbeaten:
        expected = f"no method was shown to beat the blind baselines (best: {name})"
        assert f"But {expected}, so this is no ranking." in words
    assert words.count("so this is no ranking.") == len(unbeaten)
    assert "Ranks methods" not in words
    assert "python -m suite compare --methods mtr,tome && true" in words
    assert "pool can remove at most 54.1 %" in words
    assert "the loss was not finite" in words
    assert "Top-1 of all 49 finished cells was recomputed" in words
    assert "AMD EPYC 7B13" in words
    assert "2026-11-02 10:00 UTC" in words


def test_the_environment_has_no_empty_rows() -> None:
    environment = {
        "torch": "2.9",
        "gpu": None,
        "halved": [],
        "adapted": {"vim_nano": [], "mim": ["head"]},
        "git": "",
    }
    assert context._flat(environment) == [("torch", "2.9"), ("adapted mim", "head")]


def test_packed_maps_and_owners_unpack_to_what_is_stored(report: ReportData) -> None:
    panel = page_panels.kept_panel(report.run, "vim_nano", report.labels)
    assert panel is not None
    stored = report.run.kept_tokens
    for entry in panel["maps"][::6]:
        values = (
            np.frombuffer(base64.b64decode(entry["v"]), dtype=np.uint8).reshape(-1, 14, 14) / 254
        )
        rows = stored[
            (stored["label"] == report.labels[entry["m"]]) & (stored["budget"] == entry["u"])
        ]
        for block, got in zip(panel["blocks"], values, strict=True):
            want = (
                rows[rows["block"] == block]
                .pivot(index="row", columns="col", values="kept")
                .to_numpy()
            )
            np.testing.assert_allclose(got, want, atol=0.5 / 254 + 1e-9)
    shape = report.shape
    assert shape == (14, 14)
    gallery = page_panels.gallery_panel(
        report.run, "vim_nano", report.labels, report.pictures, shape
    )
    assert gallery is not None
    assert gallery["blocks"] == [2, 5, 7]
    item = gallery["items"][17]
    rows = report.run.gallery
    rows = rows[
        (rows["label"] == report.labels[item["m"]])
        & (rows["budget"] == item["u"])
        & (rows["image"] == gallery["images"][item["i"]]["id"])
    ]
    for block, packed in zip(gallery["blocks"], item["o"], strict=True):
        row = rows[rows["block"] == block].iloc[0]
        got = np.frombuffer(base64.b64decode(packed), dtype="u1").astype(int)
        assert np.where(got > 253, got - 256, got).tolist() == list(row["owner"])
    assert item["a"]["right"] == (row["prediction"] == row["label_true"])


def test_a_heavy_gallery_keeps_to_its_weight(
    report: ReportData, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = page_panels.gallery_panel(
        report.run, "vim_nano", report.labels, report.pictures, (14, 14)
    )
    assert whole is not None
    weight = sum(len(packed) for item in whole["items"] for packed in item["o"])
    for share in (0.7, 0.3, 0.1):
        monkeypatch.setattr(page_panels, "HEAVY", int(share * weight))
        part = page_panels.gallery_panel(
            report.run, "vim_nano", report.labels, report.pictures, (14, 14)
        )
        assert part is not None
        assert (
            sum(len(packed) for item in part["items"] for packed in item["o"])
            <= share * weight * 1.02
        )
        assert part["blocks"][-1] == 7
        assert {item["i"] for item in part["items"]} == set(range(len(part["images"])))


def test_owners_of_a_block_without_reduction_are_those_before_it() -> None:
    owners = {3: np.array([0, 0, -1, 3]), 5: np.array([0, 0, -1, -2])}
    assert page_panels._owners(owners, 1, wide=False).tolist() == [0, 1, 2, 3]
    assert page_panels._owners(owners, 4, wide=False).tolist() == [0, 0, 255, 3]
    assert page_panels._owners(owners, 9, wide=True).tolist() == [0, 0, 65535, 65534]


def test_csv_round_trips_every_digit(run_folder: Path, report: ReportData) -> None:
    got = pd.read_csv(run_folder / "report" / "tables" / "results.csv")
    want = report.frame[list(got.columns)]
    got["significant"] = got["significant"].where(got["significant"].notna(), None)
    assert want.loc[want["reference"] == want["label"], "significant"].isna().all()
    pd.testing.assert_frame_equal(got, want, check_dtype=False)
    cells = pd.read_csv(run_folder / "report" / "tables" / "cells.csv")
    assert len(cells) == len(list((run_folder / "cells").glob("*.json")))


def test_markdown_and_latex_say_what_the_csv_says(folder: Path) -> None:
    tables = folder / "report" / "tables"
    rows = list(csv.DictReader(io.StringIO((tables / "results.csv").read_text())))
    markdown = (tables / "results.md").read_text().splitlines()
    latex = (tables / "results.tex").read_text()
    assert len(markdown) == len(rows) + 2
    assert {len(re.split(r"(?<!\\)\|", line)) for line in markdown} == {15}
    body = (
        latex.split("\\midrule")[1]
        .split("\\bottomrule")[0]
        .replace("\\addlinespace\n", "")
        .strip()
        .splitlines()
    )
    assert len(body) == len(rows)
    # The best of a budget is bold; a smaller image costs something else.
    leading = []
    for budget in {row["budget"] for row in rows} - {""}:
        rivals = [row for row in rows if row["budget"] == budget and row["method"] != "downsample"]
        most = max(round(100 * float(row["top1"]), 1) for row in rivals)
        leading += [row for row in rivals if round(100 * float(row["top1"]), 1) == most]
    for row, line, tex in zip(rows, markdown[2:], body, strict=True):
        assert f"| {100 * float(row['top1']):.1f} |" in line
        cells = re.split(r"(?<!\\)&", tex)
        assert len(cells) == 13
        best = re.fullmatch(r"\\textbf\{(.*)\}", cells[7].strip())
        assert (best[1] if best else cells[7].strip()) == f"{100 * float(row['top1']):.1f}"
        assert bool(best) == (row in leading)
        assert not re.search(r"(?<!\\)[%#_]", tex)


def test_captions_tell_a_range_over_seeds_from_an_interval(
    run_folder: Path, report: ReportData
) -> None:
    told = "the envelope of the 95 % intervals of the single seeds"
    caption = "".join(Page(_source(run_folder)).text).replace("\u00a0", " ")
    assert caption.count(told) == 2  # below the chart and below the table
    assert (
        told.replace("%", "\\%") in (run_folder / "report" / "tables" / "results.tex").read_text()
    )
    frame = report.frame
    assert [aggregate.few_seeds(frame.assign(seeds=seeds)) for seeds in (1, 2, 4, 5)] == [
        False,
        True,
        True,
        False,
    ]
    assert not aggregate.few_seeds(frame.assign(difference_low=np.nan))


def test_intervals_are_drawn_as_the_page_opens(run_folder: Path, single_folder: Path) -> None:
    # Of one budget the chart is a ranking, whose intervals lie along the other axis.
    for where, across in ((single_folder, "error_x"), (run_folder, "error_y")):
        charts = _data(_source(where))["charts"]
        assert isinstance(charts, dict)
        traces = [trace for trace in charts["pareto-0"]["data"] if trace.get("name")]
        assert all(across in trace for trace in traces if trace["name"] != "Smaller image")
        assert "visible" not in traces[0][across]


def test_a_run_that_cannot_be_written_says_how_to_write_elsewhere(
    single_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(page, "_figures", read_only)
    advice = (
        f"choose a folder that can be written, as `python -m suite report {single_folder} --out"
    )
    with pytest.raises(UserError, match=re.escape(advice)):
        page.write(single_folder)
    # The folder was chosen already.
    with pytest.raises(UserError, match=r"choose a folder that can be written$"):
        page.write(single_folder, target=tmp_path)


@pytest.mark.usefixtures("unmade")
def test_methods_without_a_published_schedule_are_named_once(
    fresh: Callable[..., Path],
) -> None:
    folder = fresh(labels=("mtr", "random"))
    source = next((folder / "cells").glob("*.json"))
    cell = json.loads(source.read_text()) | {
        "key": "abcdef0123456789",
        "status": "skipped",
        "reason": UNSTATED,
        "label": "stm",
        "budget": None,
        "metrics": None,
    }
    (folder / "cells" / "abcdef0123456789.json").write_text(json.dumps(cell))
    page.write(folder)
    text = "".join(Page(_source(folder)).text)
    assert text.count("Not in the table: stm.") == 1
    # It is none of the cells that were skipped for reasons of their own.
    assert UNSTATED not in text

"""The export against the files of the run, read on their own; the data dictionary against both."""

import contextlib
import csv
import io
import json
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from backbones.common.errors import UserError
from reports.export import (
    COLUMNS,
    FORMATS,
    IMAGE_COLUMNS,
    NESTED,
    cell_rows,
    flat,
    write,
)
from suite.cli import run
from suite.store.schema import MEANINGS, TABLES

TEXTS = (
    "key",
    "git",
    "data_hash",
    "weights",
    "suite",
    "torch",
)  # which may look like numbers
DOC = Path(__file__).parents[2] / "docs" / "export.md"
ESCAPES = str.maketrans({character: f"\\{character}" for character in "*_[]|"})  # of Markdown


def exported(folders: list[Path], form: str, images: bool = False) -> bytes:
    stream = io.BytesIO()
    write(folders, form, images, stream)
    return stream.getvalue()


def plain(text: str) -> Any:
    """The number, the truth value, the absence or the text that a field of CSV is, without rounding."""
    if text in ("", "True", "False"):
        return {"": None, "True": True, "False": False}[text]
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def read_back(content: bytes, form: str) -> list[dict[str, Any]]:
    """The rows of an export as plain values, None where there is none."""
    if form == "json":
        return json.loads(content)
    stream = io.BytesIO(content)
    if form == "csv":
        lines = csv.DictReader(io.TextIOWrapper(stream, "utf-8"))
        rows = [
            {name: text if name in TEXTS else plain(text) for name, text in line.items()}
            for line in lines
        ]
    else:
        frame = pd.read_parquet(stream)
        rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [
        {
            name: json.loads(value) if name in NESTED and value is not None else value
            for name, value in row.items()
        }
        for row in rows
    ]


@pytest.mark.parametrize("form", ["csv", "parquet", "json"])
def test_what_is_exported_is_what_is_stored(form: str, stored_folder: Path) -> None:
    rows = {row["key"]: row for row in read_back(exported([stored_folder], form), form)}
    cells = [json.loads(path.read_text()) for path in (stored_folder / "cells").glob("*.json")]
    spec = yaml.safe_load((stored_folder / "spec.yaml").read_text())
    environment = json.loads((stored_folder / "environment.json").read_text())
    statistics = pd.read_parquet(stored_folder / "analyses" / "statistics.parquet")
    assert len(rows) == len(cells)
    for cell in cells:
        row = rows[cell["key"]]
        assert list(row) == list(COLUMNS)
        for name in (
            "status",
            "reason",
            "backbone",
            "label",
            "budget",
            "seed",
            "images",
            "options",
            "removals",
            "token_ratio",
        ):
            assert row[name] == cell[name], name
        for name, value in (cell["metrics"] or {}).items():
            assert row[name] == value
        for name, value in cell["flops"].items():
            assert row[f"{name}_count"] == value
        for name, value in cell["total"].items():
            assert row[f"total_{name}"] == value
            assert row[f"removed_{name}"] == cell["removed"][name]
        assert (row["top1"] is None) == (cell["metrics"] is None)
        budget = -1.0 if cell["budget"] is None else cell["budget"]
        found = statistics[
            (statistics.label == cell["label"]) & (statistics.budget.fillna(-1.0) == budget)
        ]
        if cell["status"] == "ok":
            for name, source in (("difference", "difference"), ("difference_low", "difference_low"), ("top1_low", "top1_low"),
                                 ("top1_mean", "top1"),
                                 ("p_holm", "p_holm"), ("significant", "significant"),
                                 ("reference", "reference")):  # fmt: skip
                stored = found[source].iloc[0]
                assert row[name] == (
                    None if isinstance(stored, float) and math.isnan(stored) else stored
                ), name
        assert (row["batch_size"], row["kernel_asked"]) == (spec["batch_size"], spec["kernel"])
        assert (row["git"], row["kernel"], row["weights"]) == (
            environment["git"], environment["kernel"]["vim_nano"], environment["weights"]["vim_nano"]
        )  # fmt: skip


@pytest.mark.parametrize("form", ["csv", "parquet", "json"])
def test_images_are_exported_as_they_are_stored(form: str, stored_folder: Path) -> None:
    content = exported([stored_folder], form, images=True)
    read: dict[str, Callable[[io.BytesIO], pd.DataFrame]] = {
        "csv": pd.read_csv, "parquet": pd.read_parquet, "json": lambda stream: pd.read_json(stream, dtype={"key": str}),
    }  # fmt: skip
    frame = read[form](io.BytesIO(content))
    assert list(frame.columns) == list(IMAGE_COLUMNS)
    assert pd.api.types.is_integer_dtype(frame["seed"])
    assert b",0.0,0," not in content
    done = {row["key"] for row in cell_rows(stored_folder) if row["status"] == "ok"}
    assert set(frame["key"].astype(str)) == done
    key = sorted(done)[0]
    stored = pd.concat(
        [
            pd.read_parquet(path)
            for path in sorted((stored_folder / "shards" / key).glob("*.parquet"))
        ]
    )
    mine = frame[frame["key"].astype(str) == key]
    assert mine["image"].tolist() == stored["image"].tolist()
    assert mine["prediction"].tolist() == stored["prediction"].tolist()
    assert mine["label_true"].tolist() == stored["label_true"].tolist()
    assert mine["kl"].to_numpy() == pytest.approx(stored["kl"].to_numpy(), rel=1e-6)


@pytest.mark.parametrize("form", FORMATS)
def test_several_runs_follow_each_other(
    form: str, stored_folder: Path, harmful_folder: Path
) -> None:
    both = exported([stored_folder, harmful_folder], form)
    if form in ("latex", "markdown"):
        assert b"<script" not in both
        assert both == b"\n".join(
            exported([folder], form) for folder in (stored_folder, harmful_folder)
        )
        return
    rows = read_back(both, form)
    assert {row["run"] for row in rows} == {stored_folder.name, harmful_folder.name}
    assert len(rows) == len(cell_rows(stored_folder)) + len(cell_rows(harmful_folder))


def test_a_formula_is_a_text_in_csv_alone(tmp_path: Path, stored_folder: Path) -> None:
    folder = Path(shutil.copytree(stored_folder, tmp_path / "run"))
    path = sorted((folder / "cells").glob("*.json"))[0]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"title": "=cmd()"}))
    assert "'=cmd()" in exported([folder], "csv").decode()
    assert "'=cmd()" not in exported([folder], "json").decode()


def dictionary() -> str:
    """The columns of the exports and of the stored tables in Markdown."""
    parts = [
        _section("One row a cell", COLUMNS),
        _section("One row an image and cell (`--images`)", IMAGE_COLUMNS),
        "## Tables in `analyses/`\n",
        "| Table | One row is | Columns |\n|---|---|---|",
    ]
    for name, table in TABLES.items():
        columns = ", ".join(f"`{column}`" for column in table.columns)
        parts.append(f"| `{name}.parquet` | {_escaped(table.row)} | {columns} |")
    parts += ["", _section("Columns of these tables", MEANINGS)]
    return "\n".join(parts)


def _section(title: str, columns: Mapping[str, str]) -> str:
    lines = [f"## {title}", "", "| Column | Meaning |", "|---|---|"]
    lines += [f"| `{name}` | {_escaped(text)} |" for name, text in columns.items()]
    return "\n".join([*lines, ""])


def _escaped(text: str) -> str:
    # names in backticks stay as they are
    parts = text.split("`")
    parts[::2] = [part.translate(ESCAPES) for part in parts[::2]]
    return "`".join(parts)


def test_the_dictionary_is_the_documentation_and_whole(stored_folder: Path) -> None:
    assert DOC.read_text().endswith(dictionary()), (
        "put the text of dictionary() below the first part of docs/export.md"
    )
    assert list(flat(cell_rows(stored_folder)).columns) == list(COLUMNS)
    assert all(text and text[0] != " " for text in (*COLUMNS.values(), *IMAGE_COLUMNS.values()))


@pytest.mark.parametrize(
    ("form", "images"), [("csv", False), ("json", True), ("latex", False), ("markdown", False)]
)
def test_a_run_without_cells_says_where_its_tables_are(
    tmp_path: Path, form: str, images: bool
) -> None:
    folder = tmp_path / "bench-vim_nano"
    (folder / "analyses").mkdir(parents=True)
    (folder / "spec.yaml").write_text(yaml.safe_dump({"schema": 4, "kind": "bench"}))
    with pytest.raises(UserError, match="run its command to the end"):
        exported([folder], form, images)
    words = pd.DataFrame([{"backbone": "vim_nano", "sentence": "It is fast."}])
    words.to_parquet(folder / "analyses" / "bench_words.parquet")
    with pytest.raises(
        UserError,
        match=rf"no cells, but tables of its own: .*report {folder}` writes these to {folder}/repor",
    ):
        exported([folder], form, images)


def test_from_the_command_line(stored_folder: Path, tmp_path: Path, capsysbinary: Any) -> None:
    assert run(["export", str(stored_folder), "--format", "csv"]) == 0
    assert capsysbinary.readouterr().out == exported([stored_folder], "csv")
    out = tmp_path / "all.parquet"
    assert run(["export", str(stored_folder), "--format", "parquet", "--out", str(out)]) == 0
    assert out.read_bytes() == exported([stored_folder], "parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["all.parquet"]
    assert capsysbinary.readouterr() == (b"", f"export: {out}\n".encode())
    for line, reason in (
        (["--format", "parquet"], b"name a file with --out"),
        (["--format", "latex", "--images"], b"--images is not for latex"),
        (["--format", "xls"], b"--format"),
    ):
        assert run(["export", str(stored_folder), *line]) == 2
        told = capsysbinary.readouterr()
        assert reason in told.err
        assert told.err.count(b"\n") == 1
        assert told.out == b""
    assert run(["export", "/nowhere", "--format", "csv", "--out", str(tmp_path / "x.csv")]) == 2
    assert not (tmp_path / "x.csv").exists()
    with pytest.raises(UserError, match="no run folder"):
        cell_rows(Path("/nowhere"))

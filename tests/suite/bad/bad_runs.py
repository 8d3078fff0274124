"""Run folders given to `report` and to `bench run`."""

import importlib.util
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from bad import Bad, nothing, written

LINE = "report ROOT/run"
TIMED = "bench run ROOT/run --batch-size 1 --rounds 1"
KEPT = "analyses/kept_tokens.parquet"
DELETE = "delete (it|the file)"
AGAIN = "delete the file and run the command of this run again"
Damage = Callable[[Path], object]


@cache
def _sound() -> Path:
    """A small made-up run, as the tests of the report draw it."""
    file = Path(__file__).parents[2] / "reports" / "conftest.py"
    spec = importlib.util.spec_from_file_location("made_up_runs", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = Path(tempfile.mkdtemp()) / "run"
    made: Path = module.fabricate(folder, labels=("mtr", "random"), budgets=(0.4,))
    return made


def run(damage: Damage) -> Damage:
    """A run and the damage done to it."""

    def make(root: Path) -> None:
        shutil.copytree(_sound(), root / "run")
        damage(root / "run")

    return make


def cell(folder: Path) -> Path:
    """The first cell of the run."""
    return min((folder / "cells").glob("*.json"))


def into(name: str, content: bytes | str) -> Damage:
    """The file `name` of the run replaced by `content`; ``CELL`` is a cell."""

    def make(folder: Path) -> None:
        path = cell(folder) if name == "CELL" else folder / name
        path.unlink(missing_ok=True)
        written(path.name, content)(path.parent)

    return make


def link(name: str, to: str) -> Damage:
    """The file or folder `name` of the run replaced by a link."""

    def make(folder: Path) -> None:
        path = cell(folder) if name == "CELL" else folder / name
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        (folder.parent / "elsewhere").mkdir()
        (folder.parent / "elsewhere" / "precious.png").write_bytes(b"mine")
        path.symlink_to(to)

    return make


def pipe(name: str) -> Damage:
    def make(folder: Path) -> None:
        path = cell(folder) if name == "CELL" else folder / name
        path.unlink(missing_ok=True)
        os.mkfifo(path)

    return make


def edited(**changed: Any) -> Damage:
    """Entries of a cell's record replaced."""

    def make(folder: Path) -> None:
        path = cell(folder)
        path.write_text(json.dumps(json.loads(path.read_text()) | changed))

    return make


def column(table: str, name: str, value: Any) -> Damage:
    """One column of an analysis replaced by a value in every row, or left out."""

    def make(folder: Path) -> None:
        path = folder / "analyses" / f"{table}.parquet"
        frame = pd.read_parquet(path)
        frame = (
            frame.drop(columns=name)
            if value is None
            else frame.assign(**{name: [value] * len(frame)})
        )
        frame.to_parquet(path)

    return make


def unfolding(folder: Path) -> None:
    """A small file of 200,000 rows of the same 100 kB."""
    content = pa.array([b"x" * 100_000] * 1).dictionary_encode()
    same = pa.DictionaryArray.from_arrays(pa.array(np.zeros(200_000, np.int32)), content.dictionary)
    rows = pa.table(
        {"image": np.arange(200_000), "png": same, "label_true": np.zeros(200_000, np.int64)}
    )
    pq.write_table(
        rows, folder / "analyses" / "images.parquet", use_dictionary=["png"], store_schema=False
    )


def many_rows(folder: Path) -> None:
    """A small file that states 30 million rows."""
    same = pa.array(np.zeros(30_000_000, np.int8))
    pq.write_table(
        pa.table({"image": same}), folder / "analyses" / "images.parquet", compression="zstd"
    )


def huge_grid(folder: Path) -> None:
    path = folder / "analyses" / "kept_tokens.parquet"
    frame = pd.read_parquet(path).head(4)
    frame["row"], frame["col"] = 4000, 4000
    frame.to_parquet(path)


def outcomes(**columns: Any) -> Damage:
    """The first shard of a cell replaced."""

    def make(folder: Path) -> None:
        path = min((folder / "shards" / cell(folder).stem).glob("*.parquet"))
        pd.DataFrame(columns).to_parquet(path)

    return make


def torn(folder: Path) -> None:
    path = min((folder / "shards" / cell(folder).stem).glob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-9])


def scribbled(folder: Path) -> None:
    path = folder / "analyses" / "kept_tokens.parquet"
    content = bytearray(path.read_bytes())
    content[4:400] = b"\xff" * 396
    path.write_bytes(content)


def buffer_of(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


FOLDERS: list[tuple[str, Damage, str]] = [
    ("no spec", lambda folder: (folder / "spec.yaml").unlink(), "no spec.yaml.*: make one with"),
    ("a foreign spec", into("spec.yaml", "services: {web: 1}"), "names no schema.*give a folder"),
    (
        "a spec of code",
        into("spec.yaml", "schema: !!python/object/apply:os.system ['touch owned']"),
        "run its command again",
    ),
    ("a newer spec", into("spec.yaml", "schema: 99"), "schema 99.*repeat its command"),
    (
        "a schema without end",
        into("spec.yaml", f"schema: {list(range(2000))}"),
        "repeat its command",
    ),
    (
        "a spec of laughs",
        into("spec.yaml", "a: &a [1]\nschema: 4\nb: [*a, *a]"),
        "an alias.*run its command again",
    ),
    (
        "a deep spec",
        into("spec.yaml", "schema: 4\na: " + "[" * 1000),
        "nested too deep.*run its command again",
    ),
    ("a spec that is a pipe", pipe("spec.yaml"), "no spec.yaml|device"),
    (
        "a spec elsewhere",
        link("spec.yaml", "/etc/hostname"),
        "leads out of.*put the file itself there",
    ),
    ("no cells", lambda folder: shutil.rmtree(folder / "cells"), "run its command to the end"),
    ("a torn cell", into("CELL", '{"status": "ok", '), f"cannot be read.*{DELETE}"),
    ("a cell that is a list", into("CELL", "[1]"), f"does not hold a JSON object: {DELETE}"),
    ("an empty cell", into("CELL", ""), f"cannot be read.*{DELETE}"),
    ("a cell of bytes", into("CELL", b"\xff\xfe\0"), f"not UTF-8 at byte 0.*{DELETE}"),
    ("a deep cell", into("CELL", "[" * 200_000), f"nested too deep.*{DELETE}"),
    (
        "a cell with an endless number",
        into("CELL", f'{{"budget": {"9" * 9000}}}'),
        f"a number of too many digits.*{DELETE}",
    ),
    ("a cell of no status", edited(status="maybe"), "status 'maybe'.*delete it and resume"),
    ("a cell whose status is a list", edited(status=["ok"]), "status .*delete it and resume"),
    ("a cell elsewhere", link("CELL", "/etc/hostname"), "leads out of.*put the file itself there"),
    ("a cell that is a pipe", pipe("CELL"), f"a folder or a device.*{DELETE}"),
    ("a cell of endless zeros", link("CELL", "/dev/zero"), "leads out of"),
    ("timing that is torn", into("timing/x.json", "{"), f"cannot be read.*{DELETE}"),
    ("a torn environment", into("environment.json", "{"), f"cannot be read.*{DELETE}"),
    ("an environment elsewhere", link("environment.json", "/etc/hostname"), "leads out of"),
    (
        "a data set that is a list",
        into("dataset.json", "[]"),
        f"does not hold a JSON object: {DELETE}",
    ),
    (
        "a headline that is a pipe",
        pipe("analyses/headline.json"),
        f"a folder or a device.*{DELETE}",
    ),
    (
        "a report elsewhere",
        link("report", "../elsewhere"),
        "leads out of.*put the file itself there, or delete it",
    ),
    (
        "a torn table",
        into("analyses/kept_tokens.parquet", b"PAR1 torn"),
        f"kept_tokens.parquet' cannot be read.*{DELETE}",
    ),
    ("a scribbled table", scribbled, f"kept_tokens.parquet' cannot be read.*{DELETE}"),
    (
        "an empty table",
        into("analyses/kept_tokens.parquet", b""),
        f"kept_tokens.parquet' cannot be read.*{DELETE}",
    ),
    ("a table elsewhere", link("analyses/kept_tokens.parquet", "/etc/hostname"), "leads out of"),
    ("a table that is a pipe", pipe("analyses/kept_tokens.parquet"), f"is no file: {DELETE}"),
    ("a table that unfolds", unfolding, f"images.parquet' unfolds to more than.*{DELETE}"),
    (
        "a table of too many rows",
        many_rows,
        "images.parquet' states 30,000,000 rows, too many.*delete it and resume",
    ),
    ("no owners", column("gallery", "owner", None), f"lacks the column 'owner': {AGAIN}"),
    (
        "owners in words",
        column("gallery", "owner", "x"),
        f"no lists of places in the column 'owner': {DELETE}",
    ),
    ("owners beyond", column("gallery", "owner", [1, 2, 99]), f"'owner': {DELETE}"),
    ("owners far below", column("gallery", "owner", [-9, 0, 0]), f"'owner': {DELETE}"),
    ("owners with a point", column("gallery", "owner", [0.5, 1.5]), f"'owner': {DELETE}"),
    ("owners of nothing", column("gallery", "owner", []), f"'owner': {DELETE}"),
    (
        "a prediction in words",
        column("gallery", "prediction", "shirt"),
        f"no whole numbers in the column 'prediction': {DELETE}",
    ),
    (
        "a prediction of NaN",
        column("gallery", "prediction", float("nan")),
        f"'prediction': {DELETE}",
    ),
    ("a block in words", column("kept_tokens", "block", "last"), f"'block': {DELETE}"),
    ("a row of infinity", column("kept_tokens", "row", float("inf")), f"'row': {DELETE}"),
    ("a row below zero", column("kept_tokens", "row", -3), f"'row': {DELETE}"),
    (
        "a column of a billion",
        column("kept_tokens", "col", 1_000_000_000),
        f"whole numbers .*'col': {DELETE}",
    ),
    ("a grid that is not filled", huge_grid, f"for a grid of 16,008,001 positions: {DELETE}"),
    (
        "a label that is a number",
        column("kept_tokens", "label", 7),
        f"no texts in the column 'label': {DELETE}",
    ),
    (
        "a share in words",
        column("foreground", "kept", "most"),
        f"no numbers in the column 'kept': {AGAIN}",
    ),
    (
        "a budget in words",
        column("statistics", "budget", "half"),
        f"no numbers in the column 'budget': {DELETE}",
    ),
    (
        "an interval of lists",
        column("statistics", "difference_low", [1.0]),
        f"no numbers in the column 'difference_low': {DELETE}",
    ),
    (
        "pictures in words",
        column("images", "png", "picture"),
        f"no image files in the column 'png': {DELETE}",
    ),
    (
        "a class in words",
        column("images", "label_true", "shirt"),
        f"no whole numbers in the column 'label_true': {DELETE}",
    ),
    ("a torn shard", torn, f"cannot be read.*{DELETE}"),
    ("a shard without columns", outcomes(a=[1]), f"lacks the column 'image': {DELETE}"),
    (
        "a shard in words",
        outcomes(image=["x"], label_true=[1], prediction=[1]),
        f"'image': {DELETE}",
    ),
    (
        "a shard of NaN",
        outcomes(image=[1], label_true=[float("nan")], prediction=[1]),
        f"'label_true': {DELETE}",
    ),
    (
        "a shard with an image twice",
        outcomes(image=[1, 1], label_true=[1, 1], prediction=[1, 1]),
        "has an image twice: delete the folder and resume",
    ),
]
ROWS = [
    *(Bad(f"run: {what}", LINE, says, run(damage)) for what, damage, says in FOLDERS),
    Bad("run: not there", LINE, "no run folder at .*: make one with python -m suite compare"),
    Bad("run: a file", LINE, "no run folder at .*: make one with", written("run", "x")),
    Bad("run: empty", LINE, "no spec.yaml.*: make one with", lambda root: (root / "run").mkdir()),
    Bad("run: a device", "report /dev/zero", "no run folder at .*: make one with", nothing),
    Bad("run: a torn cell to time", TIMED, f"cannot be read.*{DELETE}", run(into("CELL", "{"))),
    Bad(
        "run: a torn table to time",
        TIMED,
        f"kept_tokens.parquet' cannot be read.*{DELETE}",
        run(into(KEPT, b"PAR1 torn")),
    ),
    Bad("run: a torn shard to time", TIMED, f"cannot be read.*{DELETE}", run(torn)),
    Bad(
        "run: a report elsewhere to time",
        TIMED,
        "leads out of.*put the file itself",
        run(link("report", "../away")),
    ),
    Bad(
        "run: nothing to time",
        "bench --run ROOT --rounds 1",
        "no spec.yaml.*: make one with",
        nothing,
    ),
]

"""Whatever the terminal, the home folder and the temporary one: no traceback, no cropped number, no lost row."""

import io
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from suite.cli import run
from suite.cli.listing import Kind
from suite.system.encoding import never_fail_to_print, shown
from suite.system.installation import ROOT

ENCODINGS = (
    *("utf-8", "ascii", "gbk", "big5", "euc_jp", "euc_kr", "shift_jis", "koi8-r", "cp1251"),
    *("iso-8859-1", "iso-8859-15", "cp437", "cp1252", "cp1258", "utf-16", "utf-7"),
)
Placed = Callable[[random.Random, pytest.MonkeyPatch, Path], str]
LOCALES = {"en_US": "ISO-8859-1", "zh_CN": "GBK", "ru_RU": "KOI8-R"}
Rows = dict[Kind, list[dict[str, Any]]]


def lines_of(draw: random.Random, folder: Path) -> list[str]:
    """A command line that prints a table, a text or an error."""
    odd = draw.choice(["~/x", "exp:1", "s3:x", "~nobody-here/x", "caf\udce9", "猫", "कु", "x" * 300])
    return draw.choice(
        [
            ["list", draw.choice(list(Kind)).value],
            ["list", draw.choice(list(Kind)).value, "--json"],
            ["list", "--long", draw.choice(["all", "mtr", "none", odd])],
            ["report", odd],
            ["export", odd, "--format", "csv", "--out", f"{odd}/cells.csv"],
            ["export", str(folder), "--format", draw.choice(["csv", "json", "markdown", "latex"])],
            ["plan", "--data", f"imagefolder:{odd}"],
            ["plan", "--checkpoint", odd],
            ["compare", "--methods", f"{odd}.py:GATE"],
            ["train", "--recipe", odd, "--out", odd],
            ["compare", "--name", f"../{odd}"],
            ["schema"],
        ]
    )


def whole_numbers(rows: list[dict[str, Any]], printed: str, encoding: str) -> None:
    """Every number and every name of a list stands in what was printed."""
    letters = "".join(printed.split())
    for row in rows:
        assert "".join(shown(row["name"], encoding).split()) in re.sub(r"[│|]", "", letters), row
        for cell in map(str, row.values()):
            if re.fullmatch(r"[\d.,]+", cell):
                assert re.search(rf"(?<![\d.,]){re.escape(cell)}(?![\d.,])", printed), (row, cell)


def tried(seed: int, folder: Path, finished: Path, placed: Placed, rows: Rows) -> None:
    """One drawn command on one drawn terminal."""
    draw = random.Random(seed)
    encoding, width = draw.choice(ENCODINGS), draw.randint(40, 200)
    line = lines_of(draw, finished)
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding, write_through=True)
    with pytest.MonkeyPatch.context() as patch:
        where = placed(draw, patch, folder)
        case = f"seed {seed}: {line} in {encoding}, {width} columns, {where}"
        patch.setenv("COLUMNS", str(width))
        patch.chdir(folder)
        with redirect_stdout(stream), redirect_stderr(stream):
            never_fail_to_print()
            code = run(line)
    # The export of a run is in UTF-8 whatever the terminal.
    printed = buffer.getvalue().decode(encoding, "replace")
    assert code in (0, 2), case
    assert "Traceback" not in printed, case
    if code == 2:
        assert printed.count("error: ") == 1, case
        assert printed.rstrip("\n").count("\n") <= 1, (
            case
        )  # a note that code is loaded may come first
    # A folded name is one whole only where nothing stands beside it.
    if code == 0 and line[0] == "list" and len(line) == 2 and width >= 100:
        whole_numbers(rows[Kind(line[1])], printed, encoding)


@pytest.fixture(scope="module")
def exported(finished: Callable[..., Path]) -> Path:
    return finished("fuzzed", methods=("stride",), budgets=(0.3,), seeds=1, baselines=False)


def test_drawn_terminals(tmp_path: Path, exported: Path, placed: Placed, listed_once: Rows) -> None:
    for seed in range(16):
        tried(seed, tmp_path, exported, placed, listed_once)


@pytest.mark.slow
def test_drawn_terminals_for_a_minute(
    tmp_path: Path, exported: Path, placed: Placed, listed_once: Rows
) -> None:
    end = time.monotonic() + 60
    seed = 10_000
    while time.monotonic() < end:
        tried(seed, tmp_path, exported, placed, listed_once)
        seed += 1
    assert seed > 10_100


@pytest.fixture(scope="module")
def locales(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which `LOCALES` are real, made by the C library's own tool."""
    if shutil.which("localedef") is None:
        pytest.skip("localedef is not installed")
    folder = tmp_path_factory.mktemp("locales")
    for name, charmap in LOCALES.items():
        made = folder / f"{name}.{charmap}"
        done = subprocess.run(
            ["localedef", "-i", name, "-f", charmap, made], capture_output=True, check=False
        )
        if not made.is_dir():
            pytest.skip(f"localedef made no locale: {done.stderr[-200:]!r}")
    # tox sets an encoding of its own, which would stand in for the locale's
    inherited = {k: v for k, v in os.environ.items() if k not in ("PYTHONIOENCODING", "PYTHONUTF8")}
    return {**inherited, "LOCPATH": str(folder), "PYTHONPATH": str(ROOT)}


def spoken(line: str, locale: str, environment: dict[str, str], cwd: Path) -> tuple[int, bytes]:
    """Exit code and output of a command in a real locale."""
    done = subprocess.run(
        [sys.executable, "-m", "suite", *line.split()],
        env={**environment, "LC_ALL": locale},
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    "name",
    [name if name == "en_US" else pytest.param(name, marks=pytest.mark.slow) for name in LOCALES],
)
def test_real_locales(name: str, locales: dict[str, str], tmp_path: Path) -> None:
    locale = f"{name}.{LOCALES[name]}"
    code, said = spoken("list methods", locale, locales, tmp_path)
    assert code == 0, said
    text = said.decode(LOCALES[name])
    assert "Traceback" not in text
    assert "mtr" in text
    code, said = spoken("compare --runs \u0448", locale, locales, tmp_path)
    assert code == 2
    assert said.decode(LOCALES[name], "replace").count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", list(LOCALES))
def test_a_comparison_and_doctor_in_real_locales(
    name: str, locales: dict[str, str], tmp_path: Path
) -> None:
    locale = f"{name}.{LOCALES[name]}"
    line = "compare --backbone vim_pico --images 6 --budgets 0.3 --methods random,mtr --gallery 1"
    code, said = spoken(f"{line} --threads 1 --no-baselines", locale, locales, tmp_path)
    assert code == 0, said
    assert b"report: " in said
    code, said = spoken("doctor", locale, locales, tmp_path)
    assert b"Traceback" not in said
    assert b"cpu scan kernel" in said

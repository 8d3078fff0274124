"""Terminals that are not UTF-8 show every text, whatever it holds."""

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.table import Table

from suite.cli import run
from suite.config.run_spec import RunSpec
from suite.doctor import Check
from suite.system.encoding import PLAIN, never_fail_to_print, shown
from suite.terminal.tables import print_table

ENCODINGS = ("ascii", "iso-8859-1", "gbk", "koi8-r", "cp1252", "shift_jis", "utf-8", "utf-16")
TEXTS = ("→ ±0.3 † −0.1 × … ≤", "Größe", "猫", "कुत्ता", "\udce9t\udce9", "\U0001f408", "│ ┃")


@contextmanager
def terminal(encoding: str) -> Iterator[Callable[[], str]]:
    """Standard output and error in an encoding; yields what was printed."""
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding, write_through=True)
    with redirect_stdout(stream), redirect_stderr(stream):
        never_fail_to_print()
        yield lambda: buffer.getvalue().decode(stream.encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_everything_is_printed(encoding: str) -> None:
    with terminal(encoding) as read:
        print(*TEXTS, sep="\n")
    lines = read().splitlines()
    assert len(set(lines)) == len(TEXTS)  # what is escaped stays apart
    if encoding == "ascii":
        assert lines[0] == "-> +-0.3 + -0.1 x ... <="
        assert lines[2] == "\\u732b"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_tables_keep_their_borders(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    table = Table("class", "top-1 ±", title="→")
    for text in TEXTS[:5]:
        table.add_row(text, "81.2 ±0.3 †")
    with terminal(encoding) as read:
        print_table(table)
    rows = [line for line in read().splitlines() if line.startswith(("|", "│"))]
    assert len({cell_len(row) for row in rows}) == 1
    assert len(rows) >= len(TEXTS[:5])


@pytest.mark.parametrize("encoding", ENCODINGS[:4])
@pytest.mark.parametrize("line", ["list methods", "list --long all", "schema", "compare --help"])
def test_commands_print_in_every_encoding(encoding: str, line: str) -> None:
    with terminal(encoding) as read:
        assert run(line.split()) == 0
    assert read()


@pytest.mark.parametrize("encoding", ["ascii", "gbk", "iso-8859-1", "koi8-r"])
def test_doctor_shows_its_fixes(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    checks = [Check("broken", "12.0 ≠ 13.0 in /opt/猫", "install → 13.0", True, name="nvcc")]
    monkeypatch.setattr("suite.doctor.diagnose", lambda: checks)
    with terminal(encoding) as read:
        assert run(["doctor"]) == 1
    assert "install" in read()


def test_a_comparison_ends_well_in_ascii(
    small: Callable[..., RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = "compare --backbone vim_mini --checkpoint random --data blots --images all --gallery 0"
    line += " --threads 1 --methods random --no-baselines --budgets 0.3 --no-report"
    with terminal("ascii") as read:
        assert run(line.split()) == 0
    assert " +-" in read()
    assert "results: runs" in read()


def test_errors_quote_names_of_every_alphabet() -> None:
    with terminal("gbk") as read:
        assert run(["report", "/none/कु/猫"]) == 2
    assert read().startswith("error: no run folder at '/none/\\u0915\\u0941/猫'")


def test_a_closed_output_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        never_fail_to_print()
        assert run(["list", "recipes", "--json"]) == 0


def test_an_encoding_that_python_lacks_is_left_alone() -> None:
    assert shown("±", "no-such") == "±"
    assert "±".encode("ascii", PLAIN) == b"+-"

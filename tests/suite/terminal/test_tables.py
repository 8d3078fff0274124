"""Tables at every width: nothing is cropped, every figure stands on one line, rows stay apart."""

import random
import re
import string
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from rich.table import Table

from suite.analysis.ablation import console_tables
from suite.cli import run
from suite.doctor import Check
from suite.doctor import table as doctor_table
from suite.terminal.tables import print_table

Out = pytest.CaptureFixture[str]
Printed = Callable[[Table, int], str]
SETTINGS = [f"shuffle_{kind}_before_block_{block}" for kind in ("rows", "all") for block in (1, 12)]
FIGURE = re.compile(r"[-+<]?\d[\d.,]*")


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, capsys: Out) -> Printed:
    """What `print_table` prints at a width."""

    def at(table: Table, width: int) -> str:
        monkeypatch.setenv("COLUMNS", str(width))
        print_table(table)
        return capsys.readouterr().out

    return at


def bare(text: str) -> str:
    return "".join(text.split())


def columns_of(shown: str) -> list[list[str]]:
    """The lines of every printed column, borders and heads left out, part after part."""
    found: list[list[str]] = []
    for line in shown.splitlines():
        if line.startswith("┏"):
            found += [[] for _ in range(line.count("┳") + 1)]
            here = found[-(line.count("┳") + 1) :]
        if line.startswith("│"):
            for column, cell in zip(here, line.strip("│").split("│"), strict=True):
                column.append(cell.strip())
    return found


def check(table: Table, shown: str, width: int) -> None:
    """Every column is printed whole, and every figure of it on a line of its own or among others."""
    assert max(map(len, shown.splitlines())) <= width
    assert "…" not in shown
    lines = columns_of(shown)
    whole = [bare("".join(column)) for column in lines]
    for column in table.columns:
        cells = [str(cell) for cell in column.cells]
        place = whole.index(bare("".join(cells)))
        for cell in cells:
            if len(cell) <= 24 and FIGURE.fullmatch(cell):
                assert any(cell == line for line in lines[place]), (cell, width)


def drawn(draw: random.Random) -> Table:
    """A table of the kinds of columns that the suite prints."""
    rows = draw.randint(1, 12)
    table = Table("name", title=draw.choice(["", "a title of several words"]))
    stem = "".join(draw.choices(string.ascii_lowercase + "_[]=,", k=draw.randint(1, 60)))
    names = [f"{stem}{number}" for number in range(rows)]
    kinds: list[list[str]] = []
    for _ in range(draw.randint(1, 9)):
        kind = draw.choice(["integer", "float", "interval", "words", "path", "empty"])
        cells = []
        for _ in range(rows):
            number = draw.uniform(-1, 1) * 10 ** draw.randint(0, 9)
            cells.append(
                {
                    "integer": f"{int(number):,}",
                    "float": f"{number:.4f}",
                    "interval": f"{draw.uniform(-99, 99):+.1f} to {draw.uniform(-99, 99):+.1f}",
                    "words": " ".join(draw.choices(["tokens", "removed", "by", "score"], k=8)),
                    "path": "hf://" + "".join(draw.choices(string.ascii_letters, k=50)),
                    "empty": "",
                }[kind]
            )
        kinds.append(cells)
        table.add_column(" ".join(draw.choices(["G", "parameters", "(Holm)", "%"], k=2)))
    for row in zip(names, *kinds, strict=True):
        table.add_row(*row)
    return table


@pytest.mark.parametrize("seed", range(40))
def test_drawn_tables_are_whole_at_every_width(seed: int, printed: Printed) -> None:
    draw = random.Random(seed)
    table = drawn(draw)
    for width in draw.sample(range(40, 201), 4):
        check(table, printed(table, width), width)


@pytest.mark.slow
def test_drawn_tables_are_whole_for_a_minute(printed: Printed) -> None:
    for seed in range(1000, 1500):
        draw = random.Random(seed)
        table = drawn(draw)
        for width in draw.sample(range(40, 201), 8):
            check(table, printed(table, width), width)


@pytest.mark.usefixtures("listed_once")
def test_the_list_of_backbones_loses_no_digit(capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    for width in (60, 80, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        assert run(["list", "backbones"]) == 0
        shown = capsys.readouterr().out
        assert max(map(len, shown.splitlines())) <= width
        assert re.search(r"│ vim_small +│ +25,796,584 │", shown)
        assert re.search(r"│ mambareg_large +│ +341,222,376 │", shown)
        assert re.search(r"│ videomamba_middle_video +│ +243.157 │", shown)
        for head in ("parameters", "input", "tokens", "blocks", "checkpoint"):
            assert head in shown


@pytest.mark.parametrize("width", [40, 60, 80])
def test_rows_of_an_ablation_are_told_apart(tmp_path: Path, printed: Printed, width: int) -> None:
    family = {"axis": "order", "backbone": "vim_small", "method": "mtr", "budget": 0.4}
    row = family | {
        "status": "ok", "seeds": 3, "top1": 0.81234, "agreement": 0.9, "tau": -0.25, "is_reference": False,
        "difference": -0.01234, "difference_low": -0.025, "difference_high": 0.001, "p_holm": 0.0431,
        "only_method_correct": 5, "only_reference_correct": 9, "comparisons": 4,
    }  # fmt: skip
    (tmp_path / "analyses").mkdir()
    frame = pd.DataFrame([row | {"setting": setting} for setting in SETTINGS])
    frame.to_parquet(tmp_path / "analyses" / "ablation.parquet")
    (table,) = console_tables(tmp_path)
    shown = printed(table, width)
    check(table, shown, width)
    if width >= 60:
        assert shown.count("shuffle_rows_before_block_12 ") >= 1
        assert "-2.5 to +0.1" in shown


def test_parts_repeat_the_columns_that_tell_rows_apart(printed: Printed) -> None:
    table = Table("backbone", "method", *(f"-{share} % FLOPs" for share in range(20, 90, 10)))
    for backbone in ("vim_nano", "vim_pico"):
        for method in ("mtr", "tome"):
            table.add_row(backbone, method, *["81.2 ±0.3 †"] * 7)
    shown = printed(table, 60)
    assert shown.count("vim_nano │ mtr ") == shown.count("┏") > 1
    assert shown.count("81.2 ±0.3 †") == 28


@pytest.mark.parametrize(("title", "expected"), [("", "vim_nano"), ("speed", "vim_nano: speed")])
def test_the_only_backbone_is_named_in_the_title_alone(
    title: str, expected: str, printed: Printed
) -> None:
    table = Table("backbone", "method", "top-1", title=title or None)
    for method in ("mtr", "tome"):
        table.add_row("vim_nano", method, "81.2")
    shown = printed(table, 80)
    assert shown.splitlines()[0].strip() == expected
    assert shown.count("vim_nano") == 1
    assert "backbone" not in shown
    assert printed(Table("backbone", "method"), 80).count("backbone") == 1  # without rows


def test_width_without_a_terminal(printed: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table("name", "words")
    table.add_row("one", "word " * 60)
    assert max(map(len, printed(table, 200).splitlines())) > 190
    # No terminal is so narrow, and a wrong number is none.
    for wrong, widest in (("7", 40), ("0", 120), ("many", 120)):
        monkeypatch.setenv("COLUMNS", wrong)
        assert (
            max(map(len, printed(table, int(wrong) if wrong.isdigit() else 0).splitlines()))
            <= widest
        )


def test_figures_in_sentences_of_doctor_are_whole(printed: Printed) -> None:
    checks = [
        Check("broken", "123.4567 GiB free in /a/long/folder " * 3, "free 12.3 GiB", name="disk")
    ]
    shown = printed(doctor_table(checks), 44)
    assert shown.count("123.4567") == 3
    assert "12.3" in shown


def test_wide_letters_take_two_columns(printed: Printed) -> None:
    from rich.cells import cell_len

    table = Table("class", "top-1", "words")
    table.add_row("猫" * 30, "81.25", "of several letters " * 3)
    shown = printed(table, 40)
    assert max(map(cell_len, shown.splitlines())) <= 40
    assert shown.count("猫") % 30 == 0
    assert "81.25" in shown

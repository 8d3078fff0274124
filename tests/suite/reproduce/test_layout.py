"""The cells of a table are planned without weights and data, at the FLOPs that its source prints."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from suite.cli import run
from suite.reproduce.listed import find_table, names

Out = pytest.CaptureFixture[str]


@pytest.mark.parametrize("name", names())
def test_a_plan_needs_neither_weights_nor_data(name: str, capsys: Out) -> None:
    assert run(["reproduce", name, "--plan", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    table = find_table(name)
    assert document["table"]["source"] == table.source
    cells = document["cells"]
    assert len(cells) == len(table.cells)
    for cell in cells:
        if cell["reason"] is not None:  # only what the table sets aside may be beyond our methods
            assert cell["incomparable"]
            continue
        assert not [text for text in cell["incomparable"] if text.startswith("other")]
        if cell["budget"] is not None:
            assert cell["removed"] == pytest.approx(cell["budget"], abs=0.0024)
        if cell["printed_gflops"] is not None:
            assert cell["gflops"] == pytest.approx(cell["printed_gflops"], rel=0.015)


def test_tome_on_a_vit_merges_thirteen_tokens_a_layer(capsys: Out) -> None:
    assert run(["reproduce", "tome-vit-small", "--plan", "--json"]) == 0
    *_, tome = json.loads(capsys.readouterr().out)["cells"]
    assert tome["removals"] == {str(block): 13 for block in range(1, 24, 2)}


def test_the_plan_says_why_a_value_cannot_be_compared(capsys: Out) -> None:
    assert run(["reproduce", "mtr-vim-base", "--plan"]) == 0
    out = capsys.readouterr().out
    assert "not comparable because sites and counts per layer not stated: all\n" in out
    assert "published in: abstract (mtr at 40 %)\n" in out
    assert "drop 1.6" in out


def test_a_value_without_a_number_says_so(changed: Callable[..., Path], capsys: Out) -> None:
    assert run(["reproduce", str(changed("mtr-vim-base", budgets=[0.3, 0.4])), "--plan"]) == 0
    out = capsys.readouterr().out
    assert len(re.findall(r"30\.0 %.*not read", out)) == 3
    assert "nobody has read a value of mtr at 30 %, utr at 30 %, hsa at 30 %\n" in out


def test_the_list_names_every_table(capsys: Out) -> None:
    assert run(["reproduce"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in names())
    assert run(["reproduce", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows) == names()
    assert rows["mtr-vim-base"]["read"] == rows["mtr-vim-base"]["cells"] == 3
    assert rows["amvim-vim-tiny"]["doubt"]
    assert rows["rmeeto-vim-small"]["retrained"] == 1

"""Every option that is a path is made absolute where it comes in."""

import inspect
import json
import typing
from collections.abc import Callable
from pathlib import Path

import pytest

from suite.cli import COMMANDS, parser, run
from suite.cli.paths import absolute
from suite.config.run_spec import RunSpec

Specs = Callable[..., RunSpec]
Out = pytest.CaptureFixture[str]
COMPARE = [
    *("compare", "--backbones", "vim_mini", "--checkpoint", "random", "--data", "blots"),
    *("--images", "all", "--gallery", "0", "--threads", "1", "--methods", "stride"),
    *("--no-baselines", "--budgets", "0.3", "--no-report", "--name", "one"),
]


def test_no_path_is_taken_as_it_was_typed() -> None:
    commands: list[Callable[..., int]] = []
    for command in COMMANDS.values():
        commands += command.values() if isinstance(command, dict) else [command]
    found = 0
    for command in commands:
        for name, part in inspect.signature(command, eval_str=True).parameters.items():
            kinds = [part.annotation, *typing.get_args(part.annotation)]
            kinds += [inner for kind in kinds for inner in typing.get_args(kind)]
            if Path in kinds:
                found += 1
                (option,) = part.annotation.__metadata__
                assert option.parser is absolute, (command, name)
    assert found > 12


@pytest.mark.parametrize(
    "folder",
    [
        *("~/x", "gs:deep/x", "猫 und Hund"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("exp:1", "s3:x", "./~")),
    ],
)
def test_a_run_goes_where_its_folder_says(
    folder: str, small: Specs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    place = tmp_path / "home" / "x" if folder == "~/x" else tmp_path / folder
    assert run([*COMPARE, f"--runs={folder}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"] == str(place / "one")
    assert run([*COMPARE, f"--runs={folder}"]) == 0
    assert run(["export", f"{folder}/one", "--format", "csv", "--out", f"{folder}/cells.csv"]) == 0
    assert (place / "cells.csv").stat().st_size > 100


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("compare --runs ~no-such-user/x", "write ./~no-such-user/x"),
        ("compare --runs caf\udce9", "written in UTF-8"),
        ("compare --name caf\udce9", "written in UTF-8"),
        ("report caf\udce9", "written in UTF-8"),
        ("bench run ~no-such-user/x", "no such user"),
        ("export runs/x --format csv --out ~no-such-user/x", "no such user"),
        ("plan --data imagefolder:~no-such-user/x", "no such user"),
        ("plan --data video:caf\udce9", "written in utf-8: rename the file"),
        ("plan --checkpoint ~no-such-user/x.pth", "no such user"),
        ("plan --methods ~no-such-user/m.py:GATE", "no such user"),
        ("train --recipe vim_pico --source caf\udce9", "written in UTF-8"),
        ("fetch --folder caf\udce9", "written in UTF-8"),
    ],
)
def test_what_is_no_path_here_is_one_line(line: str, said: str, capsys: Out) -> None:
    assert run(line.split()) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_the_help_says_that_a_path_is_wanted(capsys: Out) -> None:
    assert parser()
    assert run(["report", "--help"]) == 0
    assert "<Path>" in capsys.readouterr().out

"""Help: options in groups, and nothing cut, on narrow terminals too."""

import re

import pytest

from suite.cli import COMMANDS, run
from suite.cli.help import GROUPS

Out = pytest.CaptureFixture[str]
EVERY = [
    *COMMANDS,
    *(f"{name} {part}" for name, it in COMMANDS.items() if isinstance(it, dict) for part in it),
]


@pytest.mark.parametrize("columns", [60, 80])
@pytest.mark.parametrize("command", ["", *EVERY])
def test_no_text_is_cut(
    command: str, columns: int, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run([*command.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert "..." not in shown
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= columns


GROUPED = ["compare", "ablate", "tune", "retrain", "sensitivity", "bench speed"]


@pytest.mark.parametrize("command", GROUPED)
def test_options_stand_in_groups(command: str, capsys: Out) -> None:
    assert run([*command.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    places = [shown.index(f"{title}:\n") for title in GROUPS if f"{title}:\n" in shown]
    assert places == sorted(places)
    lacking = (command == "sensitivity") + (command != "retrain")  # no cost, nothing to train
    assert len(places) == len(GROUPS) - lacking
    assert "\nOptions:\n" not in shown
    assert re.search(r"-v, --verbose", shown)


def test_every_sentence_of_the_overview_is_whole(capsys: Out) -> None:
    assert run(["--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Vary one axis of a method at a time at matched FLOPs, each setting paired" in shown


def test_few_options_are_one_group(capsys: Out) -> None:
    assert run(["doctor", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "\nOptions:\n" in shown
    assert not any(title in shown for title in GROUPS)

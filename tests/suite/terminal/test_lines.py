"""Text fits the terminal; a command can be copied, and a file has every note whole."""

import io

import pytest

from suite.terminal.lines import print_note, print_result, wrapped

Out = pytest.CaptureFixture[str]
NOTE = "no tuned settings: `python -m suite tune --methods mtr,tome`, then add what it prints"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_word_that_is_longer_than_a_line_stays_whole() -> None:
    assert wrapped("see runs/a-very-long-name/report/index.html now", 20) == [
        "see",
        "runs/a-very-long-name/report/index.html",
        "now",
    ]


def test_a_command_stays_on_one_line() -> None:
    assert wrapped(NOTE, 40) == [
        "no tuned settings:",
        "`python -m suite tune --methods mtr,tome`,",
        "then add what it prints",
    ]


def test_notes_are_broken_on_a_terminal_alone(capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "44")
    print_note(NOTE)
    assert capsys.readouterr() == ("", f"{NOTE}\n")
    terminal = Terminal()
    print_note(NOTE, terminal)
    assert max(map(len, terminal.getvalue().splitlines())) <= 44
    assert len(terminal.getvalue().splitlines()) == 3


def test_results_are_broken_on_a_terminal_alone(
    capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "44")
    print_result(NOTE)
    assert capsys.readouterr() == (f"{NOTE}\n", "")
    monkeypatch.setattr("sys.stdout", terminal := Terminal())
    print_result(NOTE)
    assert terminal.getvalue().splitlines() == wrapped(NOTE, 44)

"""Cards on a terminal: laid out, their equations in plain characters; in a pipe, as they are."""

import io
import re

import pytest
from rich.console import Console

import suite.terminal.method_cards
from methods import METHODS
from suite.terminal.method_cards import print_cards


def test_a_terminal_gets_the_card_laid_out_and_a_pipe_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    card = METHODS["mtr"].card
    print_cards(card)
    assert capsys.readouterr().out == card + "\n"
    screen = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    monkeypatch.setattr(suite.terminal.method_cards, "Console", lambda **_: screen)
    print_cards(card)
    shown = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "|---" not in shown
    assert "**" not in shown
    assert "s_i = 1/E Σ_d Σ_dir Δ_i,d" in shown
    assert re.search(r"drop_ratio\s+0\s+a number from 0 to 1", shown)

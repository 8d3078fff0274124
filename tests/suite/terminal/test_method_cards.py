"""Cards on a terminal: laid out, their equations in plain characters; in a pipe, as they are."""

import io
import re

import pytest
from rich.console import Console

import suite.terminal.method_cards
from methods import METHODS
from suite.terminal.method_cards import plain_equation, plain_equations, print_cards


@pytest.mark.parametrize(
    ("latex", "plain"),
    [
        (r"s_i = \frac1E \sum_d \max(0, y_{i,d})", "s_i = 1/E Σ_d max(0, y_i,d)"),
        (r"e^{-\lambda d}", "e^(−λ d)"),
        (r"\lfloor r/2 + 1/2 \rfloor", "⌊r/2 + 1/2⌋"),
        (
            r"w_i = \sum_{\mathrm{dir}} \overline{\Delta}_i \, \overline{|B|}_i",
            "w_i = Σ_dir Δ_i |B|_i",
        ),
        (r"\frac{a + b}{c}", "(a + b)/(c)"),
        (r"f(a) = \arg\max_{b \in T} \cos(x_a, x_b)", "f(a) = arg max_(b ∈ T) cos(x_a, x_b)"),
        (r"r\, t\, F", "r t F"),
    ],
)
def test_equations_by_hand(latex: str, plain: str) -> None:
    assert plain_equation(latex) == plain


def test_no_card_leaves_latex_behind() -> None:
    for name in METHODS:
        shown = plain_equations(METHODS[name].card)
        assert not re.search(r"\$|\\[A-Za-z]", shown), name
        assert "{" not in "".join(re.findall(r"\$[^$]*\$", shown))


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

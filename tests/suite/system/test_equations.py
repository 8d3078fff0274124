"""Equations of method cards in plain characters."""

import re

import pytest

from methods import METHODS
from suite.system.equations import plain_equation, plain_equations


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

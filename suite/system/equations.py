"""Equations of method cards in plain characters."""

from __future__ import annotations

import re

# LaTeX commands of the cards; a command that is not here is shown by its name.
SIGNS = {
    "sum": "Σ",
    "prod": "Π",
    "Delta": "Δ",
    "alpha": "α",
    "lambda": "λ",
    "lfloor": "⌊",
    "rfloor": "⌋",
    "lceil": "⌈",
    "rceil": "⌉",
    "leftarrow": "←",
    "in": "∈",
    "le": "≤",
    "ge": "≥",
    "cdot": "·",
    "times": "×",
    "sim": "∼",
    "lVert": "‖",
    "rVert": "‖",
    "dots": "…",
    "big": "",
    "left": "",
    "right": "",
    "arg": "arg ",
}
FONTS = ("text", "mathrm", "overline", "mathbf")  # commands of which only the argument is shown


def plain_equations(text: str) -> str:
    """Put every equation between dollar signs into plain characters, escaped for Markdown."""
    # an equation may span lines, but no paragraphs
    equation = r"\$((?:[^$\n]|\n(?!\n))+)\$"
    return re.sub(equation, lambda match: _escaped(plain_equation(match[1])), text)


def plain_equation(source: str) -> str:
    r"""A line of LaTeX in plain characters: ``\frac1E \sum_d y_{i,d}`` is ``1/E Σ_d y_i,d``."""
    # Innermost first: fonts, fractions and scripts may be nested in this order.
    text = re.sub(rf"\\(?:{'|'.join(FONTS)})\s*\{{([^{{}}]*)\}}", r"\1", source)
    text = re.sub(r"\\frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}|\\frac\s*(\w)\s*(\w)", _fraction, text)
    text = re.sub(r"\\[,;! ]|\\q?quad\b", " ", text)
    text = re.sub(r"\\([A-Za-z]+)", lambda match: SIGNS.get(match[1], match[1]), text)
    text = re.sub(r"([_^])\{([^{}]*)\}", _script, text)
    text = text.replace("{", "").replace("}", "").replace("-", "−")
    return re.sub(r"(?<=[⌊⌈(]) | (?=[⌋⌉)])", "", " ".join(text.split()))


def _fraction(match: re.Match[str]) -> str:
    # With braces the first two groups match, without them the others.
    above, below = (group for group in match.groups() if group is not None)
    return f"{above}/{below}" if len(above) == len(below) == 1 else f"({above})/({below})"


def _script(match: re.Match[str]) -> str:
    sign, inner = match.groups()
    return f"{sign}{inner}" if re.fullmatch(r"[\w,Δλα]+", inner) else f"{sign}({inner})"


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", text)

"""Method cards as a terminal shows them: Markdown laid out, equations in plain characters."""

from __future__ import annotations

import re

from rich.console import Console
from rich.markdown import Markdown
from rich.theme import Theme

SIGNS = {
    "sum": "Σ", "prod": "Π", "Delta": "Δ", "alpha": "α", "lambda": "λ", "lfloor": "⌊", "rfloor": "⌋", "lceil": "⌈",
    "rceil": "⌉", "leftarrow": "←", "in": "∈", "le": "≤", "ge": "≥", "cdot": "·", "times": "×", "sim": "∼",
    "lVert": "‖", "rVert": "‖", "dots": "…", "big": "", "left": "", "right": "", "arg": "arg ",
}  # fmt: skip
WORDS = (
    "text",
    "mathrm",
    "overline",
    "mathbf",
)  # commands whose argument is all that is said of them


def print_cards(cards: str) -> None:
    """Print Markdown: laid out where standard output is a terminal, as it is where it is a file or a pipe."""
    console = Console(
        theme=Theme({"markdown.code": "bold cyan"})
    )  # no black boxes on a light terminal
    if console.is_terminal:
        console.print(Markdown(plain_equations(cards)))
    else:
        print(cards)


def plain_equations(text: str) -> str:
    """`text` with every equation between dollar signs in plain characters, safe from being read as Markdown."""
    return re.sub(r"\$([^$\n]+)\$", lambda found: _escaped(plain_equation(found.group(1))), text)


def plain_equation(source: str) -> str:
    r"""A line of LaTeX mathematics in plain characters: ``\frac1E \sum_d y_{i,d}`` is ``1/E Σ_d y_i,d``."""
    text = re.sub(rf"\\(?:{'|'.join(WORDS)})\s*\{{([^{{}}]*)\}}", r"\1", source)
    text = re.sub(r"\\frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}|\\frac\s*(\w)\s*(\w)", _fraction, text)
    text = re.sub(r"\\[,;! ]|\\q?quad\b", " ", text)
    text = re.sub(r"\\([A-Za-z]+)", lambda found: SIGNS.get(found.group(1), found.group(1)), text)
    text = re.sub(r"([_^])\{([^{}]*)\}", _script, text)
    text = text.replace("{", "").replace("}", "").replace("-", "−")
    return re.sub(r"(?<=[⌊⌈(]) | (?=[⌋⌉)])", "", " ".join(text.split()))


def _fraction(found: re.Match[str]) -> str:
    above, below = (
        (found.group(1), found.group(2))
        if found.group(1) is not None
        else (found.group(3), found.group(4))
    )
    return f"{above}/{below}" if len(above) == len(below) == 1 else f"({above})/({below})"


def _script(found: re.Match[str]) -> str:
    mark, inner = found.groups()
    return f"{mark}{inner}" if re.fullmatch(r"[\w,Δλα]+", inner) else f"{mark}({inner})"


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", text)

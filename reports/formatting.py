"""Formatting of numbers and texts for the page, the terminal, Markdown and LaTeX."""

from __future__ import annotations

import html
import json
import math
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression

from suite.store.schema import SAME
from suite.tries.settings import Setting

MISSING = "–"

CONVENTIONS = {
    "flops": (
        "FLOPs",
        "2 × (GEMM + convolution MACs) + scan in both directions + the reduction's own work",
    ),
    "macs": ("MACs", "GEMM + convolution MACs + scan in both directions"),
    "paper": ("FLOPs as papers print them", "MACs and scan FLOPs added up, one scan direction"),
}

LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "−": "$-$",
        "–": "--",
        "×": r"$\times$",
        # a bracket after a line break would be read as its option
        "[": "{[}",
        "]": "{]}",
    }
)
MARKDOWN = str.maketrans({character: f"\\{character}" for character in "\\`*_[]|"})


def present(value: Any) -> bool:
    """Return whether `value` can be shown: not None, NaN or infinite."""
    if value is None:
        return False
    if isinstance(value, str):
        return True
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def number(value: Any, digits: int) -> str:
    """Format a number with fixed digits and a true minus sign; a dash if it is missing."""
    if not present(value):
        return MISSING
    text = f"{float(value):.{digits}f}"
    # "-0.0" would suggest a negative value
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def percent(value: Any, digits: int = 1) -> str:
    """Format a fraction as a percentage without the sign: 0.8423 is 84.2."""
    return number(float(value) * 100, digits) if present(value) else MISSING


def points(value: Any, digits: int = 1) -> str:
    """Format a difference of fractions in signed percentage points: −0.031 is −3.1."""
    text = percent(value, digits)
    return text if text == MISSING or text.startswith("−") or float(text) == 0 else f"+{text}"


def interval(low: Any, high: Any, digits: int = 1, signed: bool = False) -> str:
    """Format ``[low, high]`` of two fractions; empty if either is missing."""
    if not (present(low) and present(high)):
        return ""
    show = _bound if signed else percent
    return f"[{show(low, digits)}, {show(high, digits)}]"


def _bound(value: Any, digits: int) -> str:
    """Format an end of a signed interval with the digits that show its side of zero."""
    exact = round(100 * float(value), 6)
    while exact and not round(exact, digits):
        digits += 1
    return points(value, digits)


def p_value(value: Any) -> str:
    """Format a p-value: ``<0.001``, else three digits."""
    if not present(value):
        return MISSING
    return "<0.001" if float(value) < 0.001 else f"{float(value):.3f}"


def convention_words(convention: str) -> tuple[str, str]:
    """Return what a FLOPs convention counts, in short and in full; a foreign one has its name."""
    return CONVENTIONS.get(convention, (convention, ""))


def setting_name(schedule: Any, window: Any) -> str:
    """Return a schedule and a window in words; a dash where there is none."""
    if not isinstance(schedule, str) or not schedule:
        return MISSING
    return str(Setting(schedule, int(window) if present(window) else 0))


def budget_name(value: Any) -> str:
    """Format a budget: ``40 %``, or ``dense`` if there is none."""
    return f"{float(value) * 100:g} %" if present(value) else "dense"


def share_removed(removed: Any, budget: Any) -> str:
    """Format a share that is not the budget: ``−39 %``, or ``−40.3 %`` near a budget of 40 %."""
    near = round(float(removed), 2) == round(float(budget), 2)
    return f"\u2212{percent(removed, 1 if near else 0)} %"


def unit(values: Iterable[Any]) -> tuple[float, str]:
    """Return the divisor and SI prefix for the largest of `values`."""
    top = max((value for value in values if present(value)), default=0.0)
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if top >= size:
            return size, prefix
    return 1.0, ""


def fold(label: str, width: int) -> str:
    """Fold a label into lines of about `width` characters.

    It is broken before brackets and after commas and equal signs; settings written as
    ``a=1, b=2`` only between settings.
    """
    lines: list[str] = []
    between = r"(?<=, )" if ", " in label else r"(?<=[,=])(?=\S)|(?=\[)|(?<= )(?== )"
    for piece in re.split(between, label):
        if lines and len(lines[-1]) + len(piece) <= width:
            lines[-1] += piece
        else:
            # A name that nothing divides is divided where it is much too long.
            whole = len(piece) <= 1.5 * width
            lines += [piece] if whole else textwrap.wrap(piece, width)
    return "\n".join(line.rstrip() for line in lines)


def distinct_names(labels: Sequence[str], most: int = 20) -> list[str]:
    """Shorten labels to names of about `most` characters that stay distinct.

    ``mtr[order=shuffled,shuffle=0.5]`` becomes ``mtr[…,shuffle=0.5]`` if no other label does.
    """
    choices = [_shorter(label) for label in labels]
    # a name that two labels could take is taken by neither
    counts = Counter(name for names in choices for name in set(names))
    names = []
    for label, shorter in zip(labels, choices, strict=True):
        own = [name for name in shorter if counts[name] == 1] or [label]
        fitting = [name for name in own if len(name) <= most]
        names.append(fitting[0] if fitting else min(own, key=len))
    return names


def _shorter(label: str) -> list[str]:
    """Return a label, its first text, and that text without its first settings, longest first."""
    text = label.split(SAME, 1)[0]
    names = [label, text]
    parts = re.fullmatch(r"([^\[]*)\[(.*)\](.*)", text, re.DOTALL)
    if parts:
        head, inside, tail = parts.groups()
        settings = inside.split(",")
        for cut in range(1, len(settings)):
            names.append(f"{head}[…,{','.join(settings[cut:])}]{tail}")
    return names


def breakable(label: str) -> str:
    """Add zero-width spaces at which a browser may break a label."""
    return re.sub(r"(?=[\[@])|(?<=[,=])(?=\S)", "\u200b", label)


def typeset(text: str) -> str:
    """Set true minus signs, and bind percent signs to their numbers."""
    return re.sub(r"(?<![\w.)\]])-(?=\d)", "\u2212", text).replace(" %", "\u00a0%")


def spread(
    values: Sequence[float],
    sizes: float | Sequence[float],
    low: float = -math.inf,
    high: float = math.inf,
) -> list[float]:
    """Move things of `sizes` apart: middles nearest to `values` at which none overlap.

    Least squares under the constraint of order: isotonic regression of the values less their
    offsets. Middles lie within `low` and `high` if there is room, for which it suffices to clip.
    """
    order = np.argsort(values, kind="stable")
    room = np.broadcast_to(np.asarray(sizes, dtype=float), len(values))[order]
    if not len(order):
        return []
    # the distance of each middle from the first, if all things touch
    offsets = np.concatenate([[0.0], np.cumsum((room[:-1] + room[1:]) / 2)])
    bases = isotonic_regression(np.asarray(values, dtype=float)[order] - offsets).x
    bottom = low + room[0] / 2
    top = max(high - offsets[-1] - room[-1] / 2, bottom)
    middles = np.empty(len(values))
    middles[order] = np.clip(bases, bottom, top) + offsets
    return middles.tolist()


def moment(stamp: Any) -> str:
    """Format an ISO 8601 time to the minute in UTC; other texts are returned unchanged.

    A time without a zone is printed without one.
    """
    text = str(stamp or "")
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return text
    if read.tzinfo is None:
        return f"{read:%Y-%m-%d %H:%M}"
    return f"{read.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def clean(value: Any) -> Any:
    """Replace numbers that JSON cannot hold by None, to any depth."""
    if isinstance(value, dict):
        return {str(key): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def script_json(value: Any) -> str:
    """Return JSON for a script element, with no character that could end the element."""
    text = json.dumps(clean(value), allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def shown(text: str) -> str:
    """Replace line breaks, escapes and direction marks in `text` by spaces."""
    return "".join(letter if letter.isprintable() or letter == "\u00a0" else " " for letter in text)


def latex(text: str) -> str:
    """Escape `text` for the body of a LaTeX table."""
    return shown(text).translate(LATEX)


def markdown(text: str) -> str:
    """Escape `text` for a cell of a Markdown table."""
    escaped = html.escape(shown(text), quote=False).translate(MARKDOWN)
    return " ".join(escaped.split())

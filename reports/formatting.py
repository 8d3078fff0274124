"""Numbers and strings as a reader sees them; nothing here knows where they came from."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from reports.style import SAME

MISSING = "–"

CONVENTIONS = {
    "flops": (
        "FLOPs",
        "2 × (GEMM + convolution MACs) + scan in both directions + the reduction's own work",
    ),
    "macs": ("MACs", "GEMM + convolution MACs + scan in both directions"),
    "paper": ("FLOPs as papers print them", "MACs and scan FLOPs added up, one scan direction"),
}

ENVELOPE = (
    "Where a method or its reference has two to four seeds, the range of their difference is the envelope of the 95 % "
    "intervals of the single seeds, not a paired interval over all of them."
)


def present(value: Any) -> bool:
    """Whether `value` is something to show: not None, not NaN, not infinite."""
    if value is None:
        return False
    if isinstance(value, str):
        return True
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def number(value: Any, digits: int) -> str:
    """`value` with a true minus sign and fixed digits; a dash where there is none."""
    if not present(value):
        return MISSING
    text = f"{float(value):.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def percent(value: Any, digits: int = 1) -> str:
    """A fraction as a percentage without its sign: 0.8423 is 84.2."""
    return number(float(value) * 100, digits) if present(value) else MISSING


def points(value: Any, digits: int = 1) -> str:
    """A difference of fractions in signed percentage points: −0.031 is −3.1."""
    text = percent(value, digits)
    return text if text == MISSING or text.startswith("−") or float(text) == 0 else f"+{text}"


def interval(low: Any, high: Any, digits: int = 1, signed: bool = False) -> str:
    """``[low, high]`` of two fractions, or nothing when either is missing."""
    if not (present(low) and present(high)):
        return ""
    show = points if signed else percent
    return f"[{show(low, digits)}, {show(high, digits)}]"


def p_value(value: Any) -> str:
    """A p-value as it is printed: ``<0.001``, else three digits."""
    if not present(value):
        return MISSING
    return "<0.001" if float(value) < 0.001 else f"{float(value):.3f}"


def budget_name(value: Any) -> str:
    """A budget as it is spoken of: ``40 %``, or ``dense`` for none."""
    return f"{float(value) * 100:g} %" if present(value) else "dense"


def unit(values: list[float]) -> tuple[float, str]:
    """Divisor and prefix that suit the largest of `values`."""
    top = max((value for value in values if present(value)), default=0.0)
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if top >= size:
            return size, prefix
    return 1.0, ""


def fold(label: str, width: int) -> str:
    """A method text in lines of about `width` characters, broken where its options or its other names begin.

    Settings side by side, ``a=1, b=2``, are broken between them alone.
    """
    lines: list[str] = []
    for piece in re.split(
        r"(?<=, )" if ", " in label else r"(?<=[,=])(?=\S)|(?=\[)|(?<= )(?== )", label
    ):
        if lines and len(lines[-1]) + len(piece) <= width:
            lines[-1] += piece
        else:
            lines.append(piece)
    return "\n".join(line.rstrip() for line in lines)


def distinct_names(labels: Sequence[str], most: int = 20) -> list[str]:
    """Names of about `most` characters that are as distinct as `labels`: a long one leaves out what others share.

    ``mtr[order=shuffled,shuffle=0.5]`` becomes ``mtr[…,shuffle=0.5]`` where no other label would.
    """
    choices = [_shorter(label) for label in labels]
    names = []
    for index, label in enumerate(labels):
        others = {name for other, found in enumerate(choices) if other != index for name in found}
        own = [name for name in choices[index] if name not in others] or [label]
        names.append(next((name for name in own if len(name) <= most), min(own, key=len)))
    return names


def _shorter(label: str) -> list[str]:
    """`label`, its first text, and that with ever fewer settings left out, the most last ones first."""
    text = label.split(SAME, 1)[0]
    found = re.fullmatch(r"([^\[]*)\[(.*)\](.*)", text, re.DOTALL)
    if not found:
        return [label, text]
    head, inside, tail = found.groups()
    settings = inside.split(",")
    return [
        label,
        text,
        *(f"{head}[…,{','.join(settings[cut:])}]{tail}" for cut in range(1, len(settings))),
    ]


def breakable(label: str) -> str:
    """A method text that a browser may break where its options begin."""
    return re.sub(r"(?=\[)|(?<=[,=])(?=\S)", "\u200b", label)


def typeset(text: str) -> str:
    """A sentence with true minus signs, and no line that starts with a percent sign."""
    return re.sub(r"(?<![\w.)\]])-(?=\d)", "\u2212", text).replace(" %", "\u00a0%")


def spread(
    values: Sequence[float],
    sizes: float | Sequence[float],
    low: float = -math.inf,
    high: float = math.inf,
) -> list[float]:
    """Middles as near as possible to `values` (in their order of size) at which things of `sizes` do not overlap.

    Least squares under the order constraint: pool-adjacent-violators on the values less their
    ranks' offsets. All lie within `low` and `high` where there is room, which for least squares
    means to clip what the pools gave.
    """
    order = sorted(range(len(values)), key=lambda index: values[index])
    room = (
        [sizes] * len(values)
        if isinstance(sizes, int | float)
        else [sizes[index] for index in order]
    )
    offsets = [0.0]
    for size, following in itertools.pairwise(room):
        offsets.append(offsets[-1] + (size + following) / 2)
    pools: list[list[float]] = []
    for index, offset in zip(order, offsets, strict=False):
        pools.append([values[index] - offset, 1.0])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            mean, weight = pools.pop()
            other = pools[-1]
            pools[-1] = [
                (other[0] * other[1] + mean * weight) / (other[1] + weight),
                other[1] + weight,
            ]
    bottom = low + (room[0] / 2 if room else 0.0)
    top = max(high - offsets[-1] - (room[-1] / 2 if room else 0.0), bottom)
    flat = [min(max(mean, bottom), top) for mean, weight in pools for _ in range(int(weight))]
    placed = [0.0] * len(values)
    for index, base, offset in zip(order, flat, offsets, strict=False):
        placed[index] = base + offset
    return placed


def moment(stamp: Any) -> str:
    """An ISO 8601 time to the minute in UTC; one without a zone stays as it is and names none; what is no time, too."""
    text = str(stamp or "")
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return text
    if read.tzinfo is None:
        return f"{read:%Y-%m-%d %H:%M}"
    return f"{read.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def clean(value: Any) -> Any:
    """`value` with every number that JSON cannot hold turned into null, to any depth."""
    if isinstance(value, dict):
        return {str(key): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def script_json(value: Any) -> str:
    """JSON that may stand inside a script element: no character of it can end the element or open a comment."""
    text = json.dumps(clean(value), allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def shown(text: str) -> str:
    """`text` with a space for whatever is no letter to be shown: line breaks, escapes, marks of direction."""
    return "".join(letter if letter.isprintable() or letter == "\u00a0" else " " for letter in text)


def latex(text: str) -> str:
    """`text` for the body of a LaTeX table, every active character escaped."""
    table = {
        "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
        "−": "$-$", "–": "--", "×": r"$\times$", "\n": " ", "\r": " ", "\0": "",
        "[": "{[}", "]": "{]}",
    }  # fmt: skip
    return "".join(table.get(character, character) for character in shown(text))


def markdown(text: str) -> str:
    """`text` for a cell of a Markdown table: no pipe, no line break, no HTML, no emphasis."""
    escaped = shown(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for character in "\\`*_[]|":
        escaped = escaped.replace(character, "\\" + character)
    return " ".join(escaped.split())

"""Colours and markers, told once: the page, its charts and the paper figures all ask here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

SAME = " = "  # joins the texts of a label that name one composition
INK = {"light": "#1b1f24", "dark": "#e6e9ed"}
SOFT = {"light": "#59616b", "dark": "#a2abb6"}
GRID = {"light": "#e3e6ea", "dark": "#2c323a"}
PAPER = {"light": "#ffffff", "dark": "#14171b"}

# Name of a marker: its matplotlib letter, plotly's word for it, and a path in a 12 x 12 box for the page's legend.
MARKERS = {
    "circle": ("o", "circle", "M6 1.6a4.4 4.4 0 1 0 .01 0z"),
    "square": ("s", "square", "M2 2h8v8h-8z"),
    "diamond": ("D", "diamond", "M6 .8l5.2 5.2-5.2 5.2-5.2-5.2z"),
    "up": ("^", "triangle-up", "M6 1.2l5 9h-10z"),
    "down": ("v", "triangle-down", "M6 10.8l5-9h-10z"),
    "cross": ("X", "x", "M3.2 1.2l2.8 2.8 2.8-2.8 2 2-2.8 2.8 2.8 2.8-2 2-2.8-2.8-2.8 2.8-2-2 2.8-2.8-2.8-2.8z"),
    "plus": ("P", "cross", "M4.4 1h3.2v3.4h3.4v3.2h-3.4v3.4h-3.2v-3.4h-3.4v-3.2h3.4z"),
    "star": ("*", "star", "M6 .6l1.5 3.6 3.9.3-3 2.5.9 3.8-3.3-2-3.3 2 .9-3.8-3-2.5 3.9-.3z"),
    "pentagon": ("p", "pentagon", "M6 1l5 3.7-1.9 5.9h-6.2l-1.9-5.9z"),
    "hexagon": ("h", "hexagon2", "M6 .8l4.5 2.6v5.2l-4.5 2.6-4.5-2.6v-5.2z"),
}

# What a method is, which its colour tells before its marker tells which one it is.
DENSE = "dense model"
BLIND = "blind baselines"
SCORE = "scores without attention"
TRANSFORMER = "made for transformers"
MAMBA = "made for Mamba"
OTHER = "others"
GROUPS = (DENSE, MAMBA, TRANSFORMER, OTHER, SCORE, BLIND)

# A group has its range of hues (greys, ochres, reds, blues to violets), a method its marker in it. Each colour reads as
# text (contrast at least 4.5 : 1) on its own background; of two methods that share a marker, every eye (normal,
# deuteranopia, protanopia) tells the colours apart.
KNOWN = {
    "none": ("#1a1e23", "#e8ebef", "star", DENSE),
    "random": ("#70757b", "#9ca1a7", "cross", BLIND),
    "stride": ("#595f66", "#b4b9c0", "down", BLIND),
    "pool": ("#41474e", "#ccd2d9", "plus", BLIND),
    "downsample": ("#2b3137", "#848990", "diamond", BLIND),
    "delta": ("#956a04", "#ffc251", "cross", SCORE),
    "activation": ("#6b5e09", "#c6b13c", "pentagon", SCORE),
    "norm": ("#6f400f", "#cd8645", "circle", SCORE),
    "tome": ("#d1291c", "#ff684e", "square", TRANSFORMER),
    "evit": ("#6f2601", "#fe9e73", "up", TRANSFORMER),
    "pumer": ("#98033e", "#ff7c97", "hexagon", TRANSFORMER),
    "mtr": ("#0c6ab6", "#2a99fe", "circle", MAMBA),
    "utr": ("#8f44c1", "#d499f8", "down", MAMBA),
    "mame": ("#0543b9", "#9496fd", "hexagon", MAMBA),
    "stm": ("#0b758a", "#33d2f4", "pentagon", MAMBA),
    "hsa": ("#066559", "#0ec6af", "diamond", MAMBA),
    "rmeeto": ("#0b6084", "#a0d9ff", "square", MAMBA),
    "fambav": ("#053758", "#c7dffe", "plus", MAMBA),
    "oracle": ("#16723c", "#6ccc89", "star", OTHER),
}
# For methods that are not ours and for further variants: greens and magentas, which no group has.
CYCLE = (
    ("#068133", "#6dd77e", "pentagon"),
    ("#b92c85", "#fe80c8", "hexagon"),
    ("#3b5e12", "#ace964", "diamond"),
    ("#7e1a6c", "#fbaee7", "up"),
    ("#014821", "#52b372", "square"),
    ("#b6537c", "#fed1e0", "down"),
)


@dataclass(frozen=True)
class Look:
    """How one label is drawn wherever it appears."""

    label: str
    light: str
    dark: str
    marker: str
    filled: bool
    dash: str
    group: str = OTHER

    @property
    def symbol(self) -> str:
        """Plotly's word for the marker."""
        return MARKERS[self.marker][1]

    @property
    def letter(self) -> str:
        """Matplotlib's letter for the marker."""
        return MARKERS[self.marker][0]

    @property
    def path(self) -> str:
        """The marker as an SVG path in a 12 x 12 box."""
        return MARKERS[self.marker][2]


def group(label: str) -> str:
    """The group of a canonical method text, variants with their method; what is not ours is OTHER."""
    name = _method(label.split(SAME, 1)[0])
    return KNOWN[name][3] if name in KNOWN else OTHER


def _method(text: str) -> str:
    """The name of the method that a text such as ``mtr[score=b]@one-shot`` speaks of."""
    return re.split(r"[\[@]", text, maxsplit=1)[0]


def looks(labels: Iterable[str]) -> dict[str, Look]:
    """A look for each canonical method text.

    A known method keeps its colour and marker in every report. Its first variant (``tome[order=appended]``) shares the
    colour, dashed and hollow; further variants and unknown names take the next of the cycle. Of several texts that mean
    the same (``mtr = mtr[order=restored]``) the first counts.
    """
    free = 0
    variants: dict[str, int] = {}
    given: dict[str, Look] = {}
    for label in dict.fromkeys(labels):
        text = label.split(SAME, 1)[0]
        name = _method(text)
        count = variants[name] = variants.get(name, -1) + 1
        plain = name == text
        kind = group(text)
        if name in KNOWN and (plain or count <= 1):
            light, dark, marker, _ = KNOWN[name]
        else:
            light, dark, marker = CYCLE[free % len(CYCLE)]
            free += 1
        dash = "dash" if not plain else "dot" if kind in {DENSE, BLIND} else "solid"
        given[label] = Look(label, light, dark, marker, plain, dash, kind)
    return given

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

# Each pair reads as text (contrast at least 4.5 : 1) on its own background; the named ones stay apart, in lightness
# where not in hue, under deuteranopia and protanopia.
NAMED = {
    "none": ("#1b1f24", "#e6e9ed", "star"),
    "mtr": ("#3a6ec8", "#0095ed", "circle"),
    "tome": ("#e0200f", "#f0562a", "square"),
    "evit": ("#147b4c", "#45db9b", "up"),
    "random": ("#6b7280", "#9aa3af", "cross"),
    "stride": ("#796815", "#f9cc6a", "down"),
    "pool": ("#603594", "#dabbfc", "plus"),
    "downsample": ("#89004c", "#ef3259", "diamond"),
}
# More methods than there are colours every eye tells apart: of these each pair of colour and marker is its own.
PAIRED = {
    "utr": ("#b0387f", "#f59ad0", "down"),
    "mame": ("#5b4bc4", "#a99cff", "hexagon"),
    "stm": ("#00718f", "#4cc9e8", "pentagon"),
    "hsa": ("#3f7a1f", "#94d36b", "diamond"),
    "delta": ("#6d5a4a", "#c9b3a0", "up"),
    "pumer": ("#44546a", "#b4c3d8", "square"),
    "fambav": ("#9a3d00", "#ffa366", "plus"),
    "rmeeto": ("#9a3d00", "#ffa366", "hexagon"),
    "activation": ("#5f5f00", "#c8c85a", "pentagon"),
    "norm": ("#7a2f8f", "#d79be8", "circle"),
    "oracle": ("#44546a", "#b4c3d8", "star"),
}
KNOWN = NAMED | PAIRED
CYCLE = (
    ("#00718f", "#4cc9e8", "pentagon"),
    ("#5b4bc4", "#a99cff", "hexagon"),
    ("#6d5a4a", "#c9b3a0", "up"),
    ("#3f7a1f", "#94d36b", "diamond"),
    ("#b0387f", "#f59ad0", "down"),
    ("#44546a", "#b4c3d8", "square"),
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


def looks(labels: Iterable[str]) -> dict[str, Look]:
    """A look for each canonical method text.

    A named method keeps its colour and marker in every report. Its first variant (``tome[order=appended]``) shares the
    colour, dashed and hollow; further variants and unknown names take the next of the cycle. Of several texts that mean
    the same (``mtr = mtr[order=restored]``) the first counts.
    """
    free = 0
    variants: dict[str, int] = {}
    given: dict[str, Look] = {}
    for label in dict.fromkeys(labels):
        text = label.split(SAME, 1)[0]
        name = re.split(r"[\[@]", text, maxsplit=1)[0]
        count = variants[name] = variants.get(name, -1) + 1
        plain = name == text
        if name in KNOWN and (plain or count <= 1):
            light, dark, marker = KNOWN[name]
        else:
            light, dark, marker = CYCLE[free % len(CYCLE)]
            free += 1
        dash = "dot" if name in {"random", "none"} else "solid" if plain else "dash"
        given[label] = Look(label, light, dark, marker, plain, dash)
    return given

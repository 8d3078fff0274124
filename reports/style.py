"""Colours and markers of methods, shared by the page, its charts and the paper figures."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from suite.store.schema import SAME

INK = {"light": "#1b1f24", "dark": "#e6e9ed"}
SOFT = {"light": "#59616b", "dark": "#a2abb6"}
GRID = {"light": "#e3e6ea", "dark": "#2c323a"}
PAPER = {"light": "#ffffff", "dark": "#14171b"}
# Words on coloured cells, which no theme changes: on pale ones, and on dark ones.
ON_PALE, ON_DARK = "#191d22", "#fefefe"

# Name of a marker: its matplotlib letter, plotly's word for it, and a path in a 12 x 12 box for the
# page's legend.
MARKERS = {
    "circle": ("o", "circle", "M6 1.6a4.4 4.4 0 1 0 .01 0z"),
    "square": ("s", "square", "M2 2h8v8h-8z"),
    "diamond": ("D", "diamond", "M6 .8l5.2 5.2-5.2 5.2-5.2-5.2z"),
    "up": ("^", "triangle-up", "M6 1.2l5 9h-10z"),
    "down": ("v", "triangle-down", "M6 10.8l5-9h-10z"),
    "cross": (
        "X",
        "x",
        "M3.2 1.2l2.8 2.8 2.8-2.8 2 2-2.8 2.8 2.8 2.8-2 2-2.8-2.8-2.8 2.8-2-2 2.8-2.8-2.8-2.8z",
    ),
    "plus": ("P", "cross", "M4.4 1h3.2v3.4h3.4v3.2h-3.4v3.4h-3.2v-3.4h-3.4v-3.2h3.4z"),
    "star": ("*", "star", "M6 .6l1.5 3.6 3.9.3-3 2.5.9 3.8-3.3-2-3.3 2 .9-3.8-3-2.5 3.9-.3z"),
    "pentagon": ("p", "pentagon", "M6 1l5 3.7-1.9 5.9h-6.2l-1.9-5.9z"),
    "hexagon": ("h", "hexagon2", "M6 .8l4.5 2.6v5.2l-4.5 2.6-4.5-2.6v-5.2z"),
}

# What a method is, which its colour tells before its marker tells which one it is.
DENSE = "dense model"
PLAIN = "plain baselines"
SCORE = "scores without attention"
TRANSFORMER = "made for transformers"
MAMBA = "made for Mamba"
OTHER = "others"
GROUPS = (DENSE, MAMBA, TRANSFORMER, OTHER, SCORE, PLAIN)

# A group has its range of hues (greys, ochres, reds, teals to violets), a method its marker in it.
# Each colour is legible as text (contrast at least 4.5 : 1) on its own background. Methods that
# share a marker, or were both made for Mamba, have colours that are distinct in normal vision,
# deuteranopia and protanopia. In the dark theme the methods of a group keep their rank of contrast
# with the page.
KNOWN = {
    "none": ("#1a1e23", "#e8ebef", "star", DENSE),
    "random": ("#70757b", "#7d898b", "cross", PLAIN),
    "stride": ("#595f66", "#99a4a9", "down", PLAIN),
    "pool": ("#41474e", "#afbdc3", "plus", PLAIN),
    "grid-pool": ("#686a77", "#839199", "square", PLAIN),
    "grid-resize": ("#3a3c3e", "#c9cecf", "circle", PLAIN),
    "downsample": ("#2b3137", "#ced2d3", "diamond", PLAIN),
    "delta": ("#956a04", "#b27e4e", "cross", SCORE),
    "activation": ("#6b5e09", "#a49041", "pentagon", SCORE),
    "norm": ("#6f400f", "#e18d44", "circle", SCORE),
    "tome": ("#d1291c", "#f67d60", "square", TRANSFORMER),
    "evit": ("#6f2601", "#f2c48b", "up", TRANSFORMER),
    "pumer": ("#98033e", "#faadbb", "hexagon", TRANSFORMER),
    "mtr": ("#0c6ab6", "#228dcf", "circle", MAMBA),
    "utr": ("#6c44f0", "#6a83ff", "down", MAMBA),
    "mame": ("#220ebe", "#b9c0fa", "hexagon", MAMBA),
    "stm": ("#2b7e75", "#3b9070", "pentagon", MAMBA),
    "hsa": ("#0a553d", "#33b766", "diamond", MAMBA),
    "rmeeto": ("#0f304a", "#7ae7dd", "square", MAMBA),
    "fambav": ("#5c1c80", "#cd91c7", "plus", MAMBA),
    "storm": ("#0c0eed", "#6cb0a1", "up", MAMBA),
    "oracle": ("#16723c", "#6dbe94", "star", OTHER),
}
# Of a smaller model, whose name stands at its point.
SMALLER_MODEL = ("#1d2227", "#dfe3e8", "square", PLAIN)
# For methods that are not ours and for further variants: greens and magentas, which no group has.
CYCLE = (
    ("#068133", "#6dd77e", "pentagon"),
    ("#b92c85", "#fe80c8", "hexagon"),
    ("#3b5e12", "#ace964", "diamond"),
    ("#7e1a6c", "#fbaee7", "up"),
    ("#014821", "#52b372", "square"),
    ("#b6537c", "#fed1e0", "down"),
)
# markers on from a colour's own each time it comes round again: shares no factor with their number
STEP = 3
# lines of variants; solid and dotted lines are for methods and baselines
BROKEN = ("dash", "dashdot", "longdash", "longdashdot")


@dataclass(frozen=True)
class Look:
    """Title, colour, marker and line of one label, the same in all figures."""

    label: str
    title: str
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


Looks = Mapping[str, Look]

BAND_LETTERS = 16  # as many as in the words above the name, "no method shown"


def title_of(label: object, looks: Looks) -> str:
    """Return what figures call a method; of one without a look its label."""
    return looks[str(label)].title if str(label) in looks else str(label)


def above_band(label: str, looks: Looks) -> str:
    """Name the blind baseline above a shaded band, which has no room for a long title."""
    title = title_of(label, looks)
    return title if len(title) <= BAND_LETTERS else "a blind method"


def group(label: str) -> str:
    """Return the group of a method text; a variant has its method's, foreign methods OTHER."""
    name = _method(label.split(SAME, 1)[0])
    return KNOWN[name][3] if name in KNOWN else OTHER


def _method(text: str) -> str:
    """Return the method's name in a text such as ``mtr[score=b]@one-shot``."""
    return re.split(r"[\[@]", text, maxsplit=1)[0]


def looks(
    labels: Iterable[str],
    titles: Mapping[str, str] | None = None,
    smaller: Collection[str] = (),
) -> dict[str, Look]:
    """Assign a look to each label; one without a title is called by its label.

    Those in `smaller` are models.

    A known method keeps its colour and marker in every report. Its first variant
    (``tome[order=appended]``) shares the colour, dashed and hollow. Further variants and unknown
    names take the next colour of the cycle, with another marker and line in each round. Of several
    texts for one composition (``mtr = mtr[order=restored]``) the first counts.
    """
    free = 0
    varied: set[str] = set()
    assigned: dict[str, Look] = {}
    for label in dict.fromkeys(labels):
        if label in smaller:
            light, dark, marker, kind = SMALLER_MODEL
            assigned[label] = Look(label, label, light, dark, marker, True, "dot", kind)
            continue
        text = label.split(SAME, 1)[0]
        name = _method(text)
        plain = name == text
        kind, turn = group(text), 0
        if name in KNOWN and (plain or name not in varied):
            light, dark, marker, _ = KNOWN[name]
        else:
            turn, index = divmod(free, len(CYCLE))
            light, dark, marker = CYCLE[index]
            # another marker in each round, in a circle
            markers = list(MARKERS)
            marker = markers[(markers.index(marker) + STEP * turn) % len(markers)]
            free += 1
        if not plain:
            varied.add(name)
        if not plain:
            dash = BROKEN[turn % len(BROKEN)]
        else:
            dash = "dot" if kind in {DENSE, PLAIN} else "solid"
        title = (titles or {}).get(label, label)
        assigned[label] = Look(label, title, light, dark, marker, plain, dash, kind)
    return assigned

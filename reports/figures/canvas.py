"""Settings of all paper figures, and their rendering to reproducible bytes."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from reports.style import GRID, INK, SOFT, Look

DPI = 220
WIDTH = 6.875  # inches: the text width of a two-column paper, as CVPR's and ICCV's style sets it
COLUMN = 3.25  # inches: one of its columns
INCHES_A_BOLD_LETTER = 0.076  # of a heading
INCHES_A_LETTER = 0.065  # of a name in a legend
INCHES_A_LINE = 0.4  # of the line beside a name, and the gaps round it
SETTINGS: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8,
    "axes.labelcolor": SOFT["light"],
    "axes.edgecolor": SOFT["light"],
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID["light"],
    "grid.linewidth": 0.6,
    "text.color": INK["light"],
    # a class or method name with a dollar sign is a name, not mathematics
    "text.parse_math": False,
    "text.usetex": False,
    "xtick.color": SOFT["light"],
    "ytick.color": SOFT["light"],
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.5,
    # text as outlines looks the same where the font is missing
    "svg.fonttype": "path",
    # without a fixed salt the ids of an SVG differ from run to run
    "svg.hashsalt": "mamba-token-suite",
    # TrueType: some publishers refuse Type 3 fonts
    "pdf.fonttype": 42,
}
# a quiet line at a level, such as the dense accuracy
GUIDE: dict[str, Any] = {
    "color": SOFT["light"],
    "linewidth": 0.8,
    "linestyle": (0, (1, 2)),
    "zorder": 0,
}
THIN = GUIDE | {"linewidth": 0.7}  # a level with its name beside it
DASHES: dict[str, Any] = {
    "solid": "-",
    "dot": (0, (1.2, 1.6)),
    "dash": (0, (4, 2)),
    "dashdot": (0, (4, 1.6, 1.2, 1.6)),
    "longdash": (0, (8, 2)),
    "longdashdot": (0, (8, 1.6, 1.2, 1.6)),
}


@contextmanager
def paper_style() -> Iterator[None]:
    """Apply the settings of a paper figure; needed both to draw and to save."""
    with mpl.rc_context(SETTINGS):
        yield


def new_figure(
    width: float, height: float, pad: float = 0.04, across: float | None = None
) -> Figure:
    """Return an empty figure of so many inches, without pyplot's global state.

    `pad` inches are left around each panel, `across` inches at its sides if they need more.
    """
    layout = ConstrainedLayoutEngine(h_pad=pad, w_pad=across or pad, hspace=pad / 2, wspace=pad / 2)
    figure = Figure(figsize=(width, height), dpi=DPI, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def heading(figure: Figure, title: str) -> None:
    """Put `title` above all panels; a figure of one column breaks it at its colon."""
    words = title if figure.get_figwidth() > COLUMN else title.replace(": ", ":\n", 1)
    room = int(figure.get_figwidth() / INCHES_A_BOLD_LETTER)
    words = "\n".join(textwrap.fill(line, room) for line in words.splitlines())
    figure.suptitle(words, x=0.01, ha="left", fontsize=8.5, fontweight="bold")


def stroke(look: Look) -> dict[str, Any]:
    """Return the line and marker of `look` as keyword arguments of `Axes.plot`."""
    return {
        "color": look.light,
        "marker": look.letter,
        # a star of the same size looks smaller than the other markers
        "markersize": 8 if look.letter == "*" else 4.5,
        "linestyle": DASHES[look.dash],
        "markerfacecolor": look.light if look.filled else "white",
        "markeredgecolor": "white" if look.filled else look.light,
        "markeredgewidth": 0.5 if look.filled else 1.0,
    }


def columns(names: int, most: int = 5) -> int:
    """Return the columns of a legend, at most `most`, that fill its last row best."""
    rows = -(-names // most)
    return -(-names // rows) if rows else 1


def fitting(names: Sequence[str], width: float, most: int) -> int:
    """Return how many columns of a legend, at most `most`, fit in `width` inches."""
    longest = 0
    for name in names:
        longest = max([longest, *map(len, name.splitlines())])
    return min(most, max(1, int(width / (longest * INCHES_A_LETTER + INCHES_A_LINE))))


def blank(axes: Axes) -> None:
    """Remove ticks, frame and grid, so that only the picture is left."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def render(figure: Figure) -> dict[str, bytes]:
    """Return a figure as PNG and SVG, by format, without dates or version strings."""
    # `Figure.savefig` draws each format twice, once only to measure; the canvases draw once
    raster, vector = io.BytesIO(), io.BytesIO()
    with paper_style():
        figure.set_facecolor("white")
        _print(FigureCanvasAgg(figure).print_png, raster, {"Software": None})
        # the layout is final; without this the SVG would be laid out again
        figure.set_layout_engine("none")
        _print(FigureCanvasSVG(figure).print_svg, vector, {"Date": None, "Creator": None})
    return {"png": raster.getvalue(), "svg": vector.getvalue()}


def render_pdf(figure: Figure) -> bytes:
    """Return a figure that `render` has laid out as PDF, with embedded fonts and no dates."""
    vector = io.BytesIO()
    with paper_style():
        undated = {"CreationDate": None, "Creator": None, "Producer": None}
        _print(FigureCanvasPdf(figure).print_pdf, vector, undated)
    return vector.getvalue()


def _print(method: Callable[..., Any], buffer: io.BytesIO, metadata: dict[str, None]) -> None:
    """Call a canvas's print method, whose signature matplotlib does not type."""
    method(buffer, metadata=metadata)

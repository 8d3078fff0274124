"""Settings of all paper figures, and their rendering to reproducible bytes."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from reports.figures.fonts import FAMILY, families, inches, wrapped
from reports.formatting import fold
from reports.style import SOFT, Look

Style = dict[str, Any]
Array = npt.NDArray[np.float64]

DPI = 220
WIDTH = 6.875  # inches: the text width of a two-column paper, as CVPR's and ICCV's style sets it
COLUMN = 3.25  # inches: one of its columns
INCHES_A_LINE = 0.4  # of the line beside a name, and the gaps round it
SETTINGS = Path(__file__).parents[1] / "templates" / "paper.mplstyle"
FONTS: Any = {"font.family": [FAMILY]}
# a quiet line at a level, such as the dense accuracy
GUIDE: Style = {
    "color": SOFT["light"],
    "linewidth": 0.8,
    "linestyle": (0, (1, 2)),
    "zorder": 0,
}
THIN = GUIDE | {"linewidth": 0.7}  # a level with its name beside it
# coordinates of words beside an axis, and above it
BESIDE, ABOVE = ("axes fraction", "data"), ("data", "axes fraction")
# words at a point, beside the keywords that place them
NOTE: Style = {
    "textcoords": "offset points",
    "va": "bottom",
    "fontsize": 7,
    "color": SOFT["light"],
}
# the titles of columns of pictures, and the labels of their rows
COLUMN_NAME: Style = {"fontweight": "normal", "loc": "center", "fontsize": 7.5}
ROW_NAME: Style = {
    "rotation": 0,
    "ha": "right",
    "va": "center",
    "color": "black",
    "fontsize": 7,
}
DASHES: Style = {
    "solid": "-",
    "dot": (0, (1.2, 1.6)),
    "dash": (0, (4, 2)),
    "dashdot": (0, (4, 1.6, 1.2, 1.6)),
    "longdash": (0, (8, 2)),
    "longdashdot": (0, (8, 1.6, 1.2, 1.6)),
}
BLOCKS = "crest"  # pale for the first block, dark for the last, in grey print too


def use_fonts_for(texts: Iterable[str]) -> None:
    """Let the figures that follow draw these texts, whatever their script (see `families`)."""
    FONTS["font.family"] = families(texts)


@contextmanager
def paper_style() -> Iterator[None]:
    """Apply the settings of a paper figure; needed both to draw and to save."""
    with mpl.rc_context(FONTS, SETTINGS), warnings.catch_warnings():
        # `families` says it once
        warnings.filterwarnings("ignore", "Glyph .* missing from")
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


def panel_rows(
    count: int, across: int, width: float, height: float, extra: float = 0.0, **shared: Any
) -> tuple[Figure, list[Axes]]:
    """Return a figure of `count` panels, `across` in a row, and the panels.

    A row is `height` inches high, and the figure `extra` more; `shared` are keywords of `subplots`.
    """
    rows = -(-count // across)
    figure = new_figure(width, height * rows + extra)
    panels = figure.subplots(rows, across, squeeze=False, **shared).ravel()
    for axes in panels[count:]:
        axes.set_axis_off()
    return figure, list(panels[:count])


def panel_width(axes: Axes) -> float:
    """Return the inches of a panel in the grid of its figure, with what is written beside it."""
    figure, place = axes.get_figure(root=True), axes.get_subplotspec()
    assert figure is not None
    assert place is not None
    return figure.get_figwidth() / place.get_gridspec().ncols


def heading(figure: Figure, title: str) -> None:
    """Put `title` above all panels; a figure of one column breaks it at its colon.

    The figure grows by the lines after the first.
    """
    words = title if figure.get_figwidth() > COLUMN else title.replace(": ", ":\n", 1)
    words = wrapped(words, 0.97 * figure.get_figwidth(), 8.5, "bold")
    figure.set_figheight(figure.get_figheight() + 0.14 * words.count("\n"))
    figure.suptitle(words, x=0.01, ha="left", fontsize=8.5, fontweight="bold")


def stroke(look: Look) -> Style:
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
    longest = 0.0
    for name in names:
        longest = max([longest, *(inches(line, 7) for line in name.splitlines())])
    return min(most, max(1, int(width / (longest + INCHES_A_LINE))))


def legend_below(
    figure: Figure,
    panels: Iterable[Axes],
    most: int = 5,
    letters: int | None = None,
    height: Mapping[str, float] | None = None,
    **style: Any,
) -> None:
    """Put one legend below all panels, each name once, in at most `most` columns.

    Names that are folded to `letters` take fewer columns where they would not fit. They are
    sorted by `height`, the highest first.
    """
    handles = {}
    for axes in panels:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            handles[name] = handle
    if height is not None:
        order = sorted(handles, key=lambda name: -height.get(name, 0.0))
        handles = {name: handles[name] for name in order}
    names = list(handles)
    if letters:
        names = [fold(name, letters) for name in names]
        most = fitting(names, figure.get_figwidth(), most)
    across = columns(len(names), most)
    figure.legend(handles.values(), names, loc="outside lower center", ncols=across, **style)


def picture(axes: Axes, pixels: Any, **style: Any) -> AxesImage:
    """Draw pixels alone, unsmoothed: smoothing would blur the borders of tokens."""
    blank(axes)
    return axes.imshow(pixels, interpolation="nearest", **style)


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
    _hide_empty(figure)
    with paper_style():
        figure.set_facecolor("white")
        _print(FigureCanvasAgg(figure).print_png, raster, {"Software": None})
        # the layout is final; without this the SVG would be laid out again
        figure.set_layout_engine("none")
        _print(FigureCanvasSVG(figure).print_svg, vector, {"Date": None, "Creator": None})
    return {"png": raster.getvalue(), "svg": vector.getvalue()}


def _hide_empty(figure: Figure) -> None:
    """Hide each axis without a label and ticks, which changes no pixel.

    Otherwise the layout and the canvases would go through all parts of the axes of each picture.
    """
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if not axis.get_label_text() and len(axis.get_majorticklocs()) == 0:
                axis.set_visible(False)


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


def block_colours(blocks: Sequence[int]) -> dict[int, Any]:
    """Return a colour for each block, darker for later ones."""
    shades = sns.color_palette(BLOCKS, max(2, len(blocks)))
    return dict(zip(sorted(blocks), shades, strict=False))


def line(
    axes: Axes,
    rows: pd.DataFrame,
    x: str,
    name: str,
    look: Look | None = None,
    band: bool = True,
    **style: Any,
) -> None:
    """Draw ``mean`` of `rows` against `x`, with a `band` from ``low`` to ``high``.

    The line has the look of a method if `look` is given, else the matplotlib `style`.
    """
    rows = rows.sort_values(x)
    drawn: Mapping[str, Any] = stroke(look) if look else style
    axes.plot(rows[x], rows["mean"], label=name, **drawn)
    if band and rows["low"].notna().any():
        colour = drawn["color"]
        axes.fill_between(rows[x], rows["low"], rows["high"], color=colour, alpha=0.15, linewidth=0)


def level(axes: Axes, value: float = 0.0) -> None:
    """Draw a quiet horizontal line at `value`."""
    axes.axhline(value, **GUIDE)


def by_block(axes: Axes) -> None:
    """Label the x axis with blocks, in whole numbers."""
    axes.set_xlabel("block before which it happens")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))

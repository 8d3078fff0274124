"""Shared pieces of the page's charts: colour tokens, the layout, a line with its marks."""

from __future__ import annotations

import html
from typing import Any

import pandas as pd

from reports import style
from reports.formatting import present
from reports.style import Look, Looks

HEIGHT = 500
MARGIN = {"l": 56, "r": 12, "t": 14, "b": 76}
# pixels; a triangle or star of the same size looks smaller than a square
SIZES = {"star": 13, "up": 11, "down": 11}
Chart = dict[str, Any]


def palette(looks: Looks, theme: str) -> dict[str, str]:
    """Return the colour of each token in `theme`, ``light`` or ``dark``."""
    basic = {"ink": style.INK, "soft": style.SOFT, "grid": style.GRID, "paper": style.PAPER}
    colours = {name: pair[theme] for name, pair in basic.items()}
    return colours | {
        token(index): getattr(look, theme) for index, look in enumerate(looks.values())
    }


def token(index: int) -> str:
    """Return the palette name of the label at `index`."""
    # labels are foreign text, so they never become keys of the page's script
    return f"m{index}"


def trace(look: Look, index: int, x: pd.Series, y: pd.Series, words: list[str]) -> Chart:
    """Return a line with marks in the look of a label; `words` are shown on hover, one a point."""
    colour = f"@{token(index)}"
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": safe(look.title),
        "x": plain(x),
        "y": plain(y),
        "text": words,
        "hovertemplate": "%{text}<extra></extra>",
        "meta": {"label": index},
        "line": {"color": colour, "width": 2.2, "dash": look.dash},
        # marks at the edge of the axes are drawn whole
        "cliponaxis": False,
        "marker": {
            "color": colour if look.filled else "@paper",
            "size": SIZES.get(look.marker, 9),
            "symbol": look.symbol,
            "line": {
                "color": "@paper" if look.filled else colour,
                "width": 1 if look.filled else 2,
            },
        },
    }


def level(value: float) -> Chart:
    """Return a dotted line across the chart at `value`."""
    return {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": value,
        "y1": value,
        "layer": "below",
        "line": {"color": "@soft", "width": 1, "dash": "dot"},
    }


def note(text: str, size: float = 11.5, **at: Any) -> Chart:
    """Return quiet words that end above the place `at`, given in Plotly's terms."""
    font = {"color": "@soft", "size": size}
    return {"text": text, "yanchor": "bottom", "showarrow": False, "font": font, **at}


def band(x: list[Any], low: pd.Series, high: pd.Series, colour: str, **meta: Any) -> Chart:
    """Return the area between two lines."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x + x[::-1],
        "y": plain(low) + plain(high)[::-1],
        "fill": "toself",
        "fillcolor": colour,
        "line": {"width": 0},
        "hoverinfo": "skip",
        "meta": meta,
    }


def layout() -> Chart:
    """Return the layout that every chart starts from."""
    axis = {
        "gridcolor": "@grid",
        "linecolor": "@soft",
        "zeroline": False,
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": "@soft",
        "automargin": True,
        "fixedrange": True,
    }
    return {
        "height": HEIGHT,
        "margin": dict(MARGIN),
        "showlegend": False,
        "hovermode": "closest",
        # transparent, so that the page's own background shows in both themes
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "dragmode": False,
        "font": {"family": "system-ui, sans-serif", "size": 12.5, "color": "@soft"},
        "hoverlabel": {
            "bgcolor": "@paper",
            "bordercolor": "@soft",
            "align": "left",
            "font": {"color": "@ink", "size": 12.5, "family": "system-ui, sans-serif"},
        },
        "xaxis": {**axis, "showgrid": False},
        "yaxis": dict(axis),
    }


def title(text: str) -> Chart:
    """Return an axis title."""
    return {"text": text, "standoff": 9, "font": {"size": 13}}


def plain(values: pd.Series) -> list[float | None]:
    """Return numbers for JSON, with None for missing ones."""
    return [float(value) if present(value) else None for value in values]


def safe(value: Any) -> str:
    """Escape foreign text for Plotly."""
    # Plotly reads a subset of HTML and ``%{...}`` templates in every text
    return html.escape(str(value)).replace("%{", "%&#123;")

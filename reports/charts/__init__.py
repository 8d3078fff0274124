"""Plotly figures as plain data: what the page's interactive charts draw.

Colours are tokens such as ``@m3`` that the page looks up in the palette of the reader's theme. Every trace carries
``meta`` with its label and, where a chart has several, its budget; the page shows and hides by it.
"""

from reports.charts.blocks import by_block
from reports.charts.canvas import HEIGHT, Chart, palette, token
from reports.charts.tradeoff import agreement, divergence, pareto

__all__ = ["HEIGHT", "Chart", "agreement", "by_block", "divergence", "palette", "pareto", "token"]

"""Interactive charts of the page, as Plotly figures in plain data.

Colours are tokens such as ``@m3``, which the page replaces by the palette of the reader's theme.
Every trace has ``meta`` with its label and, in a chart of several budgets, its budget; the page
uses it to show and hide traces. `reports.page_panels` calls these functions.
"""

from reports.charts.blocks import by_block
from reports.charts.canvas import HEIGHT, Chart, palette, token
from reports.charts.tradeoff import agreement, divergence, pareto

__all__ = ["HEIGHT", "Chart", "agreement", "by_block", "divergence", "palette", "pareto", "token"]

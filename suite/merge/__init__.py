"""Several runs as one report: their cells in a folder of their own, from which it is drawn.

Cells are united by key; what depends on pairs of cells is computed again, other tables are put
together. `python -m suite report RUN RUN ...` and sweeps use it.
"""

from __future__ import annotations

from suite.merge.merge import merge

__all__ = ["merge"]

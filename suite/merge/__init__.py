"""Several runs as one: their cells side by side in a folder of their own, from which the one report is drawn."""

from __future__ import annotations

from suite.merge.merge import merge

__all__ = ["merge"]

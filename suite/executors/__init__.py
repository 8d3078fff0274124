"""Where the shards of a run are evaluated; whoever does it, the same files come of it."""

from __future__ import annotations

from suite.executors.local import execute

__all__ = ["execute"]

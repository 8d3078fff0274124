"""Experiment trackers, of the extra `track`: log a finished run, which is complete without them.

Each is one module with ``log(content) -> str``: it writes what `Content` has, and returns where.
The commands that run something log to those named by ``--track``; no other is imported.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from backbones.common.errors import UserError
from backbones.common.naming import split
from backbones.common.registry import nearest
from suite.trackers.content import read_content

TRACKERS = ("mlflow", "tensorboard", "wandb")


def chosen_trackers(text: str) -> list[str]:
    """The trackers in a comma-separated list; UserError if one is unknown or not installed."""
    names = list(dict.fromkeys(split(text)))
    for name in names:
        if name not in TRACKERS:
            raise UserError(f"unknown tracker '{name}': {nearest(name, TRACKERS)}")
        # Not imported yet: this is checked before the run, which needs none of them.
        if find_spec(name) is None:
            raise UserError(f"--track {name} needs the package {name}: pip install '.[track]'")
    return names


def log_run(names: Sequence[str], folder: Path) -> None:
    """Log the run in `folder` to each tracker, and print where to standard error.

    One that fails is a warning: the run is on disk already, and its exit code stays.
    """
    for name in names:
        try:
            tracker = importlib.import_module(f"suite.trackers.{name}_log")
            where = tracker.log(read_content(folder))
        except Exception as error:  # a tracker may raise anything, and no result depends on it
            why = " ".join(str(error).split())[:200] or type(error).__name__
            print(
                f"warning: the run was not logged to {name} ({why}); {folder} is complete",
                file=sys.stderr,
            )
        else:
            print(f"{name}: {where}", file=sys.stderr)

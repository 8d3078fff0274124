"""Experiment trackers, behind the extra `track`: a finished run is told to them, and is whole without them.

Each is one module with ``log(content) -> str``: it writes what `Content` holds and says where. None
is imported unless it was asked for.
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


def chosen(text: str) -> list[str]:
    """The trackers that `text` names, comma-separated; UserError for an unknown one, and one that is not installed."""
    names = list(dict.fromkeys(split(text)))
    for name in names:
        if name not in TRACKERS:
            raise UserError(f"unknown tracker '{name}': {nearest(name, TRACKERS)}")
        if find_spec(name) is None:
            raise UserError(f"--track {name} needs the package {name}: pip install '.[track]'")
    return names


def tell(names: Sequence[str], folder: Path) -> None:
    """Tell each tracker of the run in `folder` and say where, on standard error.

    One that fails is a warning: the run is on disk already, and its exit code stays.
    """
    for name in names:
        try:
            place = importlib.import_module(f"suite.trackers.{name}_log").log(read_content(folder))
        except Exception as error:  # a tracker may raise anything, and no result hangs on it
            why = " ".join(str(error).split())[:200] or type(error).__name__
            print(
                f"warning: {name} was not told of the run ({why}); {folder} is whole",
                file=sys.stderr,
            )
        else:
            print(f"{name}: {place}", file=sys.stderr)

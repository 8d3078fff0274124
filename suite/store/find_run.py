"""Find the specification of a run, or say which runs there are instead."""

from __future__ import annotations

import os
from pathlib import Path

from backbones.common.errors import UserError
from backbones.common.paths import local_path
from suite.config.spec_file import SPEC

DEFAULT_FOLDER = Path("runs")
MAX_NAMED = 3  # runs named in a message
MAX_NAME = 200  # bytes of a folder's name; systems take 255, and files in it are named after it


def run_spec(folder: Path) -> Path:
    """Path of the specification in `folder`; UserError that names other runs if it has none."""
    path = folder / SPEC
    if path.is_file():
        return path
    problem = f"no run folder at '{folder}'"
    if folder.is_dir():
        problem = f"'{folder}' is not a run folder (it has no {SPEC})"
    # Often a folder inside a run, or its page, is given in its place.
    if (run := _enclosing_run(folder)) is not None:
        raise UserError(f"{problem}: it lies inside a run, give {run}")
    runs = _nearby_runs(folder)
    if not runs:
        raise UserError(f"{problem}: make one with python -m suite compare")
    more = f" ({len(runs)} in all)" if len(runs) > MAX_NAMED else ""
    names = ", ".join(map(str, runs[:MAX_NAMED]))
    raise UserError(f"{problem}: give one that is there, such as {names}{more}")


def folder_of(runs: Path, name: str, default: str) -> Path:
    """The folder of the run called `name` in `runs`, or called `default` if it is empty.

    UserError if `name` is not the name of one folder.
    """
    # A path would put the run outside `runs`, where nobody looks for it.
    length = len(os.fsencode(name))
    if Path(name).name != name or name == ".." or length > MAX_NAME or "\0" in name:
        raise UserError(
            f"--name '{name[:80]}' is not the name of one folder: leave out '/' and '..', "
            "keep it short, or use --runs"
        )
    local_path(f"./{name}")
    return runs / (name or default)


def _enclosing_run(folder: Path) -> Path | None:
    """The run that contains `folder`, or the file given in its place."""
    for above in (*folder.parents, *folder.absolute().parents):
        # The name of the specification is a common one and alone makes no run.
        if (above / SPEC).is_file() and (above / "analyses").is_dir():
            return above
    return None


def _nearby_runs(folder: Path) -> list[Path]:
    """Runs beside `folder` and in the default folder, the newest first."""
    places = {place.resolve(): place for place in (folder.parent, DEFAULT_FOLDER) if place.is_dir()}
    files: list[Path] = []
    for place in places.values():
        files += place.glob(f"*/{SPEC}")
    # The newest is most likely the one that was meant.
    files.sort(key=lambda file: file.stat().st_mtime, reverse=True)
    return [file.parent for file in files]

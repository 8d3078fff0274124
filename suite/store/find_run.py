"""Where a run is: its folder, or what is said where there is none."""

from __future__ import annotations

from pathlib import Path

from backbones.common.errors import UserError
from suite.config.spec_file import SPEC

USUAL = Path("runs")
NAMED = 3  # runs of which the message speaks


def run_spec(folder: Path) -> Path:
    """The file of settings of the run in `folder`; UserError that names the runs that are there, if it is none."""
    path = folder / SPEC
    if path.is_file():
        return path
    problem = f"no run folder at '{folder}'"
    if folder.is_dir():
        problem = f"'{folder}' is not a run folder (it has no {SPEC})"
    if (run := _around(folder)) is not None:
        raise UserError(f"{problem}: it lies inside a run, give {run}")
    known = _beside(folder)
    if not known:
        raise UserError(f"{problem}: make one with python -m suite compare")
    more = f" ({len(known)} in all)" if len(known) > NAMED else ""
    raise UserError(
        f"{problem}: give one that is there, such as {', '.join(map(str, known[:NAMED]))}{more}"
    )


def _around(folder: Path) -> Path | None:
    """The run in which `folder`, or a file given in its place, lies; `SPEC` alone, a common name, makes no run."""
    above = (*folder.parents, *folder.absolute().parents)
    return next(
        (place for place in above if (place / SPEC).is_file() and (place / "analyses").is_dir()),
        None,
    )


def _beside(folder: Path) -> list[Path]:
    """The runs where `folder` would be and in the usual place, the newest first."""
    places = {place.resolve(): place for place in (folder.parent, USUAL) if place.is_dir()}
    files = [file for place in places.values() for file in place.glob(f"*/{SPEC}")]
    return [
        file.parent for file in sorted(files, key=lambda file: file.stat().st_mtime, reverse=True)
    ]

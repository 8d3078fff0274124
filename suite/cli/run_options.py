"""Options that say how a run is carried out and where its results go, and what uses them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from backbones.common.errors import UserError
from suite.config.run_spec import RunSpec

Name = Annotated[str, typer.Option(help="Name of the run's folder; empty: made from the settings.")]
Runs = Annotated[Path, typer.Option(help="Folder that holds the runs.")]
Resume = Annotated[
    bool, typer.Option(help="Go on with a run that is there; --no-resume refuses one.")
]
FailFast = Annotated[bool, typer.Option(help="Stop at the first cell that fails.")]
Executor = Annotated[
    str, typer.Option(help="Where shards are evaluated: local (this process), or ray.")
]
Address = Annotated[
    str,
    typer.Option(
        help="Ray cluster to work with, HOST:PORT or auto; empty: one begun on this machine for the run."
    ),
]
Workers = Annotated[
    int, typer.Option(help="Ray workers at most, each with the run's threads; 0: as there is room.")
]
Report = Annotated[bool, typer.Option(help="Write the report.")]
Track = Annotated[
    str,
    typer.Option(
        help="Trackers told of the finished run, comma-separated: mlflow, tensorboard, wandb."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]


LONGEST = 200  # bytes of a folder's name; file systems take 255


def run_folder(spec: RunSpec, runs: Path, name: str) -> Path:
    """The folder of a run; UserError if `name` is not that of one folder."""
    if (
        Path(name).name != name
        or name == ".."
        or len(name.encode("utf-8", "replace")) > LONGEST
        or "\0" in name
    ):
        raise UserError(
            f"--name '{name[:80]}' is not the name of one folder: leave out '/' and '..', keep it short, or use --runs"
        )
    return runs / (name or spec.default_name())


def written(folder: Path, report: bool, trackers: Sequence[str]) -> Path | None:
    """The page of the finished run in `folder`, drawn if a `report` is wanted; then the `trackers` are told."""
    from suite.trackers import tell

    page = None
    if report:
        from reports import build

        page = build(folder)
    tell(trackers, folder)
    return page

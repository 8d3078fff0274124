"""Options that say how a run is carried out and where its results go; no result depends on them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from suite.cli.paths import absolute
from suite.config.run_spec import Specification
from suite.config.spec_file import SPEC
from suite.store.find_run import folder_of

if TYPE_CHECKING:
    from suite.terminal.findings import Findings

Done = TypeVar("Done")
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Print all findings, not only the answer in brief."),
]


@dataclass(frozen=True)
class RunOptions:
    """Options of commands that run something; a command may leave some out, at their defaults."""

    config: Annotated[
        Path | None,
        typer.Option(
            parser=absolute,
            help=f"YAML file of settings, such as a run's {SPEC}; options on the command line "
            "override it.",
        ),
    ] = None
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            help="Alternatives of a setting, FIELD=ONE,OTHER; repeatable; every combination is a "
            "run of its own."
        ),
    ] = None
    name: Annotated[
        str, typer.Option(help="Name of the run's folder; empty: made from the settings.")
    ] = ""
    runs: Annotated[Path, typer.Option(parser=absolute, help="Folder that contains the runs.")] = (
        Path("runs")
    )
    resume: Annotated[
        bool, typer.Option(help="Resume a run that exists; --no-resume refuses it.")
    ] = True
    fail_fast: Annotated[bool, typer.Option(help="Stop at the first cell that fails.")] = False
    skip_damaged: Annotated[
        bool, typer.Option(help="Go on without image files that cannot be read, and name them.")
    ] = False
    executor: Annotated[
        str, typer.Option(help="Where shards are evaluated: local (this process), or ray.")
    ] = "local"
    address: Annotated[
        str,
        typer.Option(
            help="Ray cluster to use, HOST:PORT or auto; empty: start one on this machine for the "
            "run."
        ),
    ] = ""
    workers: Annotated[
        int,
        typer.Option(
            help="Maximum number of Ray workers, each with the run's threads; 0: as many as fit."
        ),
    ] = 0
    report: Annotated[bool, typer.Option(help="Write the report.")] = True
    track: Annotated[
        str,
        typer.Option(
            help="Trackers to which the finished run is logged, comma-separated: mlflow, "
            "tensorboard, wandb."
        ),
    ] = ""
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document instead of tables.")
    ] = False
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", help="Print all findings and notes, not only the answer in brief."
        ),
    ] = False
    # The folder itself, as `sensitivity` once took it in place of --runs and --name.
    out: Annotated[Path | None, typer.Option(parser=absolute, hidden=True)] = None

    def folder(self, default: str) -> Path:
        """The folder of the run; its name is `default` if none is given.

        UserError if `name` is not the name of one folder.
        """
        if self.out:
            return self.out
        return folder_of(self.runs, self.name, default)


def start(run: Callable[..., Done], spec: Specification, folder: Path, options: RunOptions) -> Done:
    """`run` a specification in `folder` by the executor that was asked for; what it returns.

    UserError if that cannot be used as the options say.
    """
    from suite.execution.choose import executor_of

    executor = executor_of(options.executor, options.address, options.workers)
    return run(
        spec,
        folder,
        quiet=options.json,
        resume=options.resume,
        fail_fast=options.fail_fast,
        skip_damaged=options.skip_damaged,
        executor=executor,
        verbose=options.verbose,
    )


def finish(
    folder: Path,
    options: RunOptions,
    trackers: Sequence[str],
    results: Mapping[str, Any],
    show: Callable[[Path | None], Findings],
) -> None:
    """Write the report of a finished run, log it to `trackers`, and print its `results`.

    They are one JSON document, or what `show` gives to print, from the path of the report's page.
    """
    from suite.trackers import log_run

    page = None
    # Before the trackers, which also get the page and its figures.
    if options.report:
        from reports import build

        page = build(folder)
    log_run(trackers, folder)
    if options.json:
        # Absent is null, so that a program finds the same keys in every document.
        paths = {"run": str(folder), "report": page and str(page)}
        print(json.dumps({**paths, **results}, indent=1))
        return
    from suite.terminal.findings import print_findings

    print_findings(show(page), options.verbose)
    print(f"report: {page}" if page else f"results: {folder}")

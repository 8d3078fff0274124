"""`ablate` varies one axis of a method at a time, at equal cost."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from backbones.common.errors import UserError
from suite.cli.precompile import begin_compiling
from suite.cli.run_options import (
    Address,
    Executor,
    FailFast,
    Json,
    Name,
    Report,
    Resume,
    Runs,
    Track,
    Workers,
    run_folder,
    written,
)
from suite.cli.spec_options import with_run_options
from suite.config.run_spec import RunSpec


@partial(with_run_options, methods="mtr", split="dev", budgets="0.4", baselines=False, gallery=0)
def ablate(
    spec: RunSpec,
    name: Name = "",
    runs: Runs = Path("runs"),
    resume: Resume = True,
    fail_fast: FailFast = False,
    executor: Executor = "local",
    address: Address = "",
    workers: Workers = 0,
    report: Report = True,
    track: Track = "",
    as_json: Json = False,
) -> int:
    """Vary a method along one axis at a time at matched FLOPs, each setting paired with the method as it is."""
    if not spec.axes:
        raise UserError("nothing to vary: name an axis, such as --axis order")
    folder = run_folder(spec, runs, name)
    begin_compiling(spec)
    from suite.analysis.ablation import tables
    from suite.comparison import run_comparison
    from suite.execution.choose import executor_of
    from suite.stats import unbeaten
    from suite.terminal.tables import print_table
    from suite.trackers import chosen

    trackers = chosen(track)
    result = run_comparison(
        spec, folder, as_json, resume, fail_fast, executor_of(executor, address, workers)
    )
    page = written(folder, report, trackers)
    if as_json:
        print(
            json.dumps(
                {"run": str(folder), "report": page and str(page), **result.summary()}, indent=1
            )
        )
        return 1 if result.failures else 0
    for table in tables(folder):
        print_table(table)
    for sentence in (
        *unbeaten(result.marks),
        result.headline["headline"],
        *result.headline["paragraphs"],
    ):
        print(sentence)
    if page:
        for figure in sorted((page.parent / "figures").glob("ablation-*.png")):
            print(f"figure: {figure}")
    print(f"report: {page}" if page else f"results: {folder}")
    return 1 if result.failures else 0

"""`compare` runs a comparison and writes its report; `plan` says what it would run."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

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


@partial(with_run_options, without=("axes",))
def compare(
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
    """Compare methods at equal cost and write a report; asked again, it goes on where it stood."""
    folder = run_folder(spec, runs, name)
    begin_compiling(spec)
    from suite.comparison import run_comparison
    from suite.execution.choose import executor_of
    from suite.stats import unbeaten
    from suite.terminal.tables import astray, comparison_table, left_out, print_table
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
    else:
        print_table(comparison_table(result.records))
        for line in (*astray(result.records), *left_out(result.records)):
            print(line)
        warnings, paragraphs = result.headline["warnings"], result.headline["paragraphs"]
        for warning in warnings:
            print(f"WARNING: {warning}")
        for sentence in unbeaten(result.marks):
            print(sentence)
        print(result.headline["headline"])
        begin = len(warnings)
        for paragraph in paragraphs[
            begin : begin + len(result.headline["beside"]) + 1
        ]:  # the page has the rest
            print(paragraph)
        print(f"report: {page}" if page else f"results: {folder}")
    return 1 if result.failures else 0


@with_run_options
def plan(spec: RunSpec, as_json: Json = False) -> int:
    """Lay out the cells of a comparison without running it: tokens, FLOPs, and an estimate of the time."""
    from suite.plan.prepare import out_of_reach, prepare, undivided
    from suite.plan.records import describe
    from suite.plan.run_time import estimate_seconds
    from suite.terminal.tables import plan_table, print_table

    prepared = prepare(spec)
    records = [describe(cell, spec, len(prepared.indices)) for cell in prepared.cells]
    seconds = estimate_seconds(prepared)
    if as_json:
        print(
            json.dumps(
                {"cells": records, "images": len(prepared.indices), "seconds": seconds}, indent=1
            )
        )
        return 0
    print_table(plan_table(records, spec.convention))
    skipped = sum(record["status"] == "skipped" for record in records)
    print(
        f"{len(records) - skipped} cells to run, {skipped} skipped, on {len(prepared.indices):,} images: "
        f"about {seconds:.0f} s on this machine, kernels compiled"
    )
    for warning in out_of_reach(prepared):
        print(f"WARNING: {warning}")
    if whole := undivided(prepared):
        print(whole)
    return 0

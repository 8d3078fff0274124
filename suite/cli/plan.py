"""`plan`: lay out the cells of a comparison without running it."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from suite.cli.run_options import RunOptions
from suite.cli.spec_options import with_options
from suite.config.run_spec import RunSpec

if TYPE_CHECKING:
    from suite.plan.prepare import Prepared

# Options that say how a run is carried out, and where.
RUNNING = {field.name for field in dataclasses.fields(RunOptions)} - {"config", "sweep", "json"}


@with_options(RunSpec(), without=RUNNING)
def plan(spec: RunSpec, options: RunOptions, prepared: Prepared | None = None) -> int:
    """Show the cells of a comparison without running it: tokens, FLOPs, and the estimated time.

    Cells that the same comparison has evaluated, in its folder of the default name, are done.
    """
    from suite.plan.notes import (
        notes_on_further,
        notes_on_models,
        notes_on_smaller,
        unreachable_budgets,
    )
    from suite.plan.prepare import prepare
    from suite.plan.run_time import seconds_by_role
    from suite.plan.tuning_notes import notes_on_settings
    from suite.store.run_folder import Store
    from suite.store.unstated import unstated_notes
    from suite.system.durations import duration
    from suite.terminal.lines import print_note, print_text
    from suite.terminal.tables import plan_table, print_table
    from suite.tries.settings import WINDOW_MEANS

    prepared = prepared or prepare(spec, say=print_note)
    images = len(prepared.indices)
    records = prepared.records
    folder = options.folder(spec.default_name())
    done = Store(folder).finished() & {record.key for record in records}
    # Timed on a few batches of the dense model, which is all that runs here.
    by_role = seconds_by_role(prepared, done)
    seconds = sum(by_role.values())
    unstated = unstated_notes((record.label, record.reason) for record in records)
    if options.json:
        document = {
            "cells": [record.as_json() for record in records if record.shown],
            "further_cells": [record.as_json() for record in records if not record.shown],
            "images": images,
            "done": len(done),
            "seconds": seconds,
            "seconds_by_role": by_role,
            "views": prepared.mean_views,
            "work_of_item": prepared.mean_work,
            "sites": {name: choice.record() for name, choice in prepared.sites.items()},
            "notes": [*notes_on_settings(prepared), *unstated, *notes_on_smaller(records)],
        }
        print(json.dumps(document, indent=1))
        return 0
    notes = [*notes_on_models(prepared), *notes_on_settings(prepared), *prepared.dataset.notes]
    for note in notes:
        print_text(note)
    if any(record.cls_window for record in records):
        print_text(f"{WINDOW_MEANS}.")
    print_table(plan_table([r for r in records if r.shown], spec.flops_convention))
    for note in (*notes_on_further(prepared, by_role, done), *unstated, *notes_on_smaller(records)):
        print_text(note)
    skipped = sum(record.status == "skipped" for record in records)
    left = sum(record.status != "skipped" and record.key not in done for record in records)
    on = f"{skipped} skipped, on {images:,} {prepared.dataset.kind}"
    there = f"{len(done)} done in {folder}, " if done else ""
    if left:
        took = f"about {duration(seconds)} on this machine, kernels compiled"
        print_text(f"{left} cells to run, {there}{on}: {took}")
    else:
        print_text(f"no cells to run, {there}{on}: the same command with compare shows the results")
    for warning in unreachable_budgets(prepared):
        print_text(f"WARNING: {warning}")
    if prepared.unused_split:
        print_text(prepared.unused_split)
    return 0

"""A retraining from its settings to results on disk: prepare, train, then compare."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from backbones.common.errors import UserError
from suite.comparison import Result, run_comparison
from suite.execution.choose import Executor
from suite.execution.local import execute
from suite.execution.moved_data import recorded_spec
from suite.retrain.cells import with_retrained
from suite.retrain.files import Finished
from suite.retrain.prepare import Retraining, prepare_retraining
from suite.retrain.spec import RetrainSpec
from suite.retrain.tables import retraining_tables, rows_in
from suite.retrain.train import train_all
from suite.store.run_folder import session
from suite.system.hardware import pick_device
from suite.terminal.lines import print_note
from suite.training.distributed import ProcessGroup, process_group


@dataclass(frozen=True)
class Outcome:
    """A finished retraining.

    ``result``    the comparison that it ended with
    ``rows``      of its own tables, by name
    ``finished``  the records of the trainings, by name
    """

    retraining: Retraining
    result: Result
    rows: dict[str, list[dict[str, Any]]]
    finished: dict[str, Finished]


def run_retraining(
    spec: RetrainSpec,
    folder: Path,
    quiet: bool = False,
    resume: bool = True,
    fail_fast: bool = False,
    skip_damaged: bool = False,
    executor: Executor = execute,
    verbose: bool = False,
) -> Outcome | None:
    """Run or resume the retraining in `folder`; None in all processes of torchrun but the first.

    Unless `quiet` it says what is trained at what cost, and how far it is. UserError before
    anything ran if it cannot start, and where memory does not suffice.
    """
    with process_group(pick_device(spec.device)) as group:
        retraining = prepare_retraining(spec, folder)
        finished = trained(retraining, folder, group, quiet, resume)
        if not group.is_main:
            return None
    plan = with_retrained(retraining, finished, folder)
    result = run_comparison(
        plan.spec,
        folder,
        quiet,
        # The folder holds this run since its first training.
        resume=True,
        fail_fast=fail_fast,
        skip_damaged=skip_damaged,
        executor=executor,
        prepared=plan,
        beside=partial(retraining_tables, finished),
        verbose=verbose,
    )
    return Outcome(retraining, result, rows_in(folder), finished)


def trained(
    retraining: Retraining, folder: Path, group: ProcessGroup, quiet: bool, resume: bool
) -> dict[str, Finished]:
    """See that all trainings are finished; UserError if another process is at them."""

    def say(text: str) -> None:
        if group.is_main and not quiet:
            print_note(text)

    # One process of a group begins the run and holds the lock for all.
    if not group.is_main:
        return train_all(retraining, folder, group, say)
    # The same data may lie elsewhere now.
    spec = recorded_spec(folder, retraining.spec)
    with session(folder, spec, resume) as store, store.lock("training", False) as free:
        if not free:
            raise UserError(
                f"another process trains in {folder}: wait for it, or choose another --name"
            )
        return train_all(retraining, folder, group, say)

"""`retrain`: train weights under each method, and show what of its loss is won back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from suite.cli.compare import begin_compiling
from suite.cli.exit_codes import FAILED
from suite.cli.run_options import RunOptions, finish, start
from suite.cli.spec_options import with_options
from suite.retrain.spec import RetrainSpec

if TYPE_CHECKING:
    from suite.terminal.findings import Findings

# Settings of comparisons that say nothing of a retraining, and ways to run that it does not have.
WITHOUT = {
    *("axes", "protocol", "smaller", "across_schedules", "views", "inference"),
    *("sweep", "executor", "address", "workers", "out"),
}


@with_options(RetrainSpec(), without=WITHOUT)
def retrain(spec: RetrainSpec, options: RunOptions) -> int:
    """Train weights under each method and budget, and compare them with the weights as they came.

    The whole model is trained alike as a control. Rerun the command to resume.
    """
    folder = options.folder(spec.default_name())
    begin_compiling(spec)
    from suite.retrain.output import findings
    from suite.retrain.run import run_retraining
    from suite.trackers import chosen_trackers

    trackers = chosen_trackers(options.track)
    outcome = start(run_retraining, spec, folder, options)
    # Of several processes the first alone compares.
    if outcome is None:
        return 0
    results = {**outcome.rows, **outcome.result.summary()}

    def show(_: Path | None) -> Findings:
        return findings(outcome, folder)

    finish(folder, options, trackers, results, show)
    return FAILED if outcome.result.failures else 0

"""`sensitivity`: the effect of removing each token before each block."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from suite.cli.exit_codes import FAILED
from suite.cli.run_options import RunOptions, finish
from suite.cli.spec_options import with_options
from suite.sensitivity.spec import SensitivitySpec

if TYPE_CHECKING:
    from suite.terminal.findings import Findings


# The analysis has no executors: its probes run in this process.
@with_options(SensitivitySpec(), without={"sweep", "executor", "address", "workers"})
def sensitivity(spec: SensitivitySpec, options: RunOptions) -> int:
    """Measure the effect of removing each token before each block, and which scores predict it.

    Removal is exact, not estimated. Rerun the command to resume.
    """
    from suite.cli.results import sensitivity_findings
    from suite.sensitivity.analysis import run_sensitivity
    from suite.sensitivity.output import json_document
    from suite.trackers import chosen_trackers

    # Wrong names are found before the analysis, which may take hours.
    trackers = chosen_trackers(options.track)
    folder = options.folder(spec.default_name())
    result = run_sensitivity(
        spec, folder, options.json, options.resume, options.fail_fast, options.skip_damaged
    )

    def show(page: Path | None) -> Findings:
        return sensitivity_findings(result.frames, result.headline)

    finish(folder, options, trackers, json_document(result), show)
    return FAILED if result.failures else 0

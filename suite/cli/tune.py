"""`tune`: try every method under the same settings, and pick the best one of each."""

from __future__ import annotations

import json

from suite.cli.exit_codes import FAILED
from suite.cli.run_options import RunOptions, start
from suite.cli.spec_options import with_options
from suite.tune.spec import TuneSpec


@with_options(TuneSpec(), without={"sweep", "report", "track", "out"})
def tune(spec: TuneSpec, options: RunOptions) -> int:
    """Try every method under the same schedules and class-token windows, and pick the best of each.

    All have equally many tries, blind baselines too. Rerun the command to resume.
    """
    from suite.terminal.findings import print_findings
    from suite.tune.output import findings, json_document, use_of
    from suite.tune.run import run_tuning

    folder = options.folder(spec.default_name())
    tuned = start(run_tuning, spec, folder, options)
    if options.json:
        print(json.dumps({"run": str(folder), **json_document(tuned)}, indent=1))
    else:
        print_findings(findings(tuned), options.verbose)
        print(use_of(tuned, folder))
    # Failed cells do not stop the others, but a script must notice them.
    return FAILED if tuned.failures else 0

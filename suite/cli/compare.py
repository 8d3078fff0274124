"""`compare`: run a comparison of methods at equal cost and write its report."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from backbones.compiled.ahead import compile_ahead
from suite.cli.exit_codes import FAILED
from suite.cli.run_options import RunOptions, finish, start
from suite.cli.spec_options import with_options
from suite.config.run_spec import RunSpec

if TYPE_CHECKING:
    from suite.comparison import Result
    from suite.plan.prepare import Prepared
    from suite.terminal.findings import Findings


# Exists where a driver is loaded; asking PyTorch would mean to import it.
NVIDIA = Path("/proc/driver/nvidia")
KEEP_ALL = {"none", "downsample"}  # methods that remove no token from a sequence


@with_options(RunSpec(), without={"axes", "out"})
def compare(spec: RunSpec, options: RunOptions, prepared: Prepared | None = None) -> int:
    """Compare methods at equal cost and write a report. Rerun the command to resume."""
    return run_and_show(spec, options, show, prepared)


def run_and_show(
    spec: RunSpec,
    options: RunOptions,
    show: Callable[[Result, Path, Path | None], Findings],
    prepared: Prepared | None,
) -> int:
    """Run a comparison, report it, and print its results; the exit code.

    `show` gives what is printed of them, from the result, the run's folder and the page of the
    report. The plan may be `prepared` already, as in a sweep.
    """
    folder = options.folder(spec.default_name())
    # Before the imports below, which take seconds: another process compiles meanwhile.
    begin_compiling(spec)
    from suite.comparison import run_comparison
    from suite.trackers import chosen_trackers

    # Wrong names are found before the run, which may take hours.
    trackers = chosen_trackers(options.track)
    result = start(partial(run_comparison, prepared=prepared), spec, folder, options)
    finish(folder, options, trackers, result.summary(), partial(show, result, folder))
    # Failed cells do not stop the others, but a script must notice them.
    return FAILED if result.failures else 0


def begin_compiling(spec: RunSpec) -> None:
    """Let another process compile the reduction for the CPU if `spec` is likely to need it."""
    on_cpu = spec.device == "cpu" or (spec.device == "auto" and not NVIDIA.exists())
    reduces = spec.baselines or not KEEP_ALL.issuperset(spec.methods)
    # The compiled reduction is for fp32; a wrong guess costs only the other process's time.
    if on_cpu and reduces and spec.precision == "fp32":
        compile_ahead("methods.fused.cpu.kernel", "reduction_kernel")


def show(result: Result, folder: Path, page: Path | None) -> Findings:
    """The answer on each backbone, its table of accuracies, and the findings in brief."""
    from suite.cli.results import comparison_findings

    headline = result.headline.record()
    return comparison_findings(result.records, headline, result.schedules, result.further)

"""`ablate`: vary one axis of a method at a time, at equal cost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from backbones.common.errors import UserError
from suite.cli.compare import run_and_show
from suite.cli.run_options import RunOptions
from suite.cli.spec_options import with_options
from suite.config.run_spec import RunSpec

if TYPE_CHECKING:
    from suite.comparison import Result
    from suite.plan.prepare import Prepared
    from suite.terminal.findings import Findings

# Many settings of one method at one budget; choices are made on dev, and the page has no gallery.
# The images of dev picked the tuned schedules, so that they are no evidence under these.
DEFAULTS = RunSpec(
    methods=("mtr",),
    split="dev",
    budgets=(0.4,),
    schedule="constant-ratio",
    baselines=False,
    gallery=0,
)


@with_options(DEFAULTS, without={"out"})
def ablate(spec: RunSpec, options: RunOptions, prepared: Prepared | None = None) -> int:
    """Vary one axis of a method at a time at matched FLOPs, each setting paired with the method."""
    # No axis is the default, since none is of more interest than the others.
    if not spec.axes:
        raise UserError("nothing to vary: name an axis, such as --axes order")
    return run_and_show(spec, options, show, prepared)


def show(result: Result, folder: Path, page: Path | None) -> Findings:
    """The answer, a table of each axis, and in detail the paths of the figures."""
    from suite.cli.results import ablation_findings

    found = ablation_findings(folder, result.headline.record(), result.records)
    if page is None:
        return found
    figures = page.parent / "figures"
    drawn = sorted([*figures.glob("ablation-*.png"), *figures.glob("schedules.png")])
    return replace(found, details=[*found.details, *(f"figure: {path}" for path in drawn)])

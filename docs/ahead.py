"""The readings of the method of our own, from stored answers: its lead over each published method.

`python docs/ahead.py` draws ``docs/figures/own_method.png`` from those that are stored.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import answers

from methods import METHODS
from methods.spec import parse
from reports.figures.canvas import WIDTH
from reports.figures.lead import Panel, lead_of, leads_figure
from reports.formatting import budget_name
from reports.style import looks
from suite.stats.ahead import Claim, Contest, claims, lead_rows
from suite.stats.compare import Comparison
from suite.store.schema import SAME

OWN, SMALLER = "crop-shrink", "downsample"
# The names of stored answers: of the backbones that the goal is about, and of the held-out proofs.
GOAL = ("own_garments", "own_photographs")
HELD_OUT = ("own_seeds", "own_held_out")
FIGURE = Path(__file__).parent / "figures" / "own_method.png"


def stored(name: str) -> answers.Answers | None:
    """The stored answers called `name`; None before they are read."""
    return answers.read(name) if (answers.TABLES / f"{name}.parquet").is_file() else None


def claims_of(names: Iterable[str]) -> list[Claim]:
    """The claim at each budget of each backbone, Holm-corrected over all that are stored."""
    contests: list[Contest] = []
    for name in names:
        run = stored(name)
        if run is not None:
            contests += contests_of(run)
    return claims(contests)


def contests_of(run: answers.Answers) -> list[Contest]:
    """The method beside each published one, and the smaller image, in one reading."""
    made = []
    for backbone in backbones_of(run):
        for budget in budgets_of(run, backbone):
            labels = run.labels(budget, backbone)
            rivals = [label for label in labels if is_rival(label)]
            made.append(
                Contest(
                    backbone,
                    budget,
                    run.outcomes(OWN, budget, backbone),
                    [run.outcomes(label, budget, backbone) for label in rivals],
                    run.outcomes(SMALLER, budget, backbone) if SMALLER in labels else None,
                )
            )
    return made


def backbones_of(run: answers.Answers) -> list[str]:
    """The backbones on which the method ran, as cells have them: without the paths of weights."""
    order = [str(name).partition("[")[0] for name in run.about["backbones"]]
    names = {str(name) for name in run.cells.backbone if budgets_of(run, name)}
    return sorted(names, key=lambda name: (order.index(name.partition("[")[0]), name))


def budgets_of(run: answers.Answers, backbone: str) -> list[float]:
    """The budgets at which the method ran on a backbone, ascending; none where it cannot run."""
    cells = run.cells[(run.cells.backbone == backbone) & (run.cells.label == OWN)]
    return sorted({float(budget) for budget in cells.dropna(subset=["correct"]).budget})


def is_rival(label: str) -> bool:
    """Whether a label is that of a published method."""
    name = parse(label.split(SAME)[0]).name
    return name != OWN and METHODS[name].family != "baseline"


def reading_name(backbone: str) -> str:
    """A backbone as the page calls it: weights of a file are those of another seed."""
    name, _, settings = backbone.partition("[")
    return f"{name}, another seed" if "weights=" in settings else name


def lead_words(row: Comparison | None) -> str:
    """A lead in points with its interval: +6.0 [+3.1, +8.9]; a dash without one."""
    if row is None:
        return "–"
    low, high = 100 * row.difference_low, 100 * row.difference_high
    return f"{100 * row.difference:+.1f} [{low:+.1f}, {high:+.1f}]"


def p_words(p: float) -> str:
    """A p for a table."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def draw() -> None:
    """Draw the lead over each published method and the smaller image, a panel a claim."""
    found = [*claims_of(GOAL), *claims_of(HELD_OUT)]
    if not found:
        sys.exit(f"none of {', '.join((*GOAL, *HELD_OUT))} is in {answers.TABLES}: store one first")
    panels, labels = [], [OWN]
    for claim in found:
        rows = lead_rows(claim)
        labels += [row["reference"] for row in rows]
        words = f"{reading_name(claim.backbone)}, −{budget_name(claim.budget)}"
        panels.append(Panel(words, [lead_of(row) for row in rows]))
    of_what = f"every other method by {OWN}, points of top-1"
    figure = leads_figure(panels, looks(list(dict.fromkeys(labels))), "", of_what, WIDTH)
    figure.savefig(FIGURE, dpi=160)


if __name__ == "__main__":
    draw()

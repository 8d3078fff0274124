"""The parts of methods and the checks of backbones, as rows of the pages that explain them."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

from methods.composition import COMPARED, MATCHINGS, SCORED, WEIGHTS
from methods.parts import match
from methods.parts.features import FEATURES
from methods.parts.order import ORDERS
from methods.parts.score import SCORES
from suite.verify.backbone_contract import CHECKS
from suite.verify.checks import title

__all__ = ["backbone_checks", "combinations", "features", "matchings", "orders", "scores"]

# The function of each matching and combination, whose documentation says what it does.
MATCHING: dict[str, Callable[..., object] | str] = {
    "lowest": match.lowest,
    "fused": match.fused,
    "keep-target-source": match.split,
    "odd-even": match.top_edges,
    "halves": match.halves,
    "neighbours": match.neighbours,
    "spaced": match.spaced,
    "runs": match.runs,
    "grid-pairs": "Neighbours along a map's rows, then its columns, equally many in every line",
    "grid-resize": "A map of tokens is resampled to fewer rows and columns",
    "nothing": "No token goes; the order alone is changed",
}
COMBINATION: dict[str, str] = {
    "mean": "the mean of itself and its sources",
    "size": "their mean, each weighed by the tokens that it stands for",
    "pair": "its mean with one source after the other",
    "delta-b": "their mean, each weighed by what it writes into the state (Delta B)",
    "attention": "their sum, each weighed by its score as attention (EViT's fused token)",
    "sum": "the sum of itself and its sources (STORM as released)",
    "drop": "what it was: its sources are dropped",
}
ORDER: dict[str, str] = {
    "restored": "by position",
    "appended": "first those outside the set of targets, then the targets (ToMe's [unmerged, dst])",
    "score": "by descending score",
    "odd-even": "first every second one, then the others",
    "reversed": "by descending position",
    "shuffled": "at random, a share `shuffle` of them",
}


class ScoreRow(NamedTuple):
    """What the page says of a score."""

    needs: str
    directed: str
    words: str


def written(function: Callable[..., object]) -> Callable[..., object]:
    """The function itself, of a partial one the whole."""
    return getattr(function, "func", function)


def first_line(function: Callable[..., object]) -> str:
    """The first line of a function's documentation, or of that of the one that made it."""
    made = written(function)
    text = inspect.getdoc(made)
    if text is None or made is not function:
        outer = made.__qualname__.partition(".")[0]
        text = inspect.getdoc(getattr(sys.modules[made.__module__], outer))
    # A bar would end the cell of a table.
    return (text or "").split("\n")[0].rstrip(".").replace("|", r"\|")


def matchings() -> Iterator[tuple[str, str, str]]:
    """Name, what it reads, and what it does."""
    for name in MATCHINGS:
        reads = ["score"] * (name in SCORED) + ["feature"] * (name in COMPARED)
        if name == "grid-pairs":
            reads = ["feature, score or nothing"]
        said = MATCHING[name]
        words = said if isinstance(said, str) else first_line(said)
        yield name, ", ".join(reads) or "nothing", words


def scores() -> Iterator[tuple[str, ScoreRow]]:
    """Name, trace fields for both directions, whether a scan can be chosen, and what it is."""
    for name, score in SCORES.items():
        # A file of somebody's may have added its own to this process.
        if not written(score.read).__module__.startswith("methods."):
            continue
        needs = ", ".join(f"`{field}`" for field in sorted(score.needs("both"))) or "none"
        yield name, ScoreRow(needs, "yes" if score.directed else "no", first_line(score.read))


def features() -> Iterator[tuple[str, str]]:
    """Name and trace fields."""
    for name, feature in FEATURES.items():
        yield name, ", ".join(f"`{field}`" for field in sorted(feature.needs)) or "none"


def combinations() -> Iterator[tuple[str, str]]:
    """Name of the weights, and what a target becomes."""
    for name in WEIGHTS:
        yield name, COMBINATION[name]


def orders() -> Iterator[tuple[str, str]]:
    """Name, and where the survivors stand."""
    for name in ORDERS:
        yield name, ORDER[name]


def backbone_checks() -> Iterator[str]:
    """What each check of a backbone says, in their order."""
    yield from map(title, CHECKS)

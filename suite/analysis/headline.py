"""The findings of a comparison in words: a headline, warnings, and paragraphs for the page.

Every sentence about a difference has its interval, never a p alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from backbones.checkpoints.published import PublishedFile
from suite.analysis.published_accuracy import accuracy_warning
from suite.analysis.statistics import BackboneStatistics
from suite.config.run_spec import RunSpec
from suite.plan.notes import called, made_up_warning
from suite.stats.compare import Comparison, same_answers
from suite.stats.correctness import Outcomes, counted
from suite.stats.single import wilson
from suite.stats.verdict import Verdict, too_few

FEW = 3  # methods that are named each in a sentence of its own
TRAINED_ON = (
    "these are {kind} that weights are trained on (split `train`): no accuracy of this run is a "
    "test of anything."
)
NOTHING_COMPARED = "No method was compared with another: it takes two that run at the same budget."


@dataclass(frozen=True)
class Headline:
    """Findings in words: ``analyses/headline.json``.

    ``headline``    the middle budget of the first backbone
    ``resolution``  by backbone and budget, whether the images can rank methods there
    ``warnings``    what makes the figures doubtful
    ``beside``      the other methods that were named, and the other backbones
    ``paragraphs``  the warnings, ``beside``, smaller images, and the other budgets
    """

    headline: str
    resolution: list[dict[str, Any]]
    warnings: list[str]
    beside: list[str]
    paragraphs: list[str]

    def record(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Setting:
    """Where a comparison was made.

    ``budget``   as a fraction, as the top-1 of the dense model
    ``made_up``  parts of the backbone that its weights do not have
    ``kind``     whether images or videos were classified
    """

    backbone: str
    dataset: str
    budget: float
    dense_accuracy: float
    made_up: Sequence[str] = ()
    kind: str = "images"

    @property
    def place(self) -> str:
        """Data set and backbone."""
        return f"{self.dataset} ({called(self.backbone, self.made_up)})"


def make_headline(
    statistics: Sequence[BackboneStatistics],
    spec: RunSpec,
    requested: Mapping[str, str],
    warnings: Sequence[str],
) -> Headline:
    """Put the statistics of a run into words; `warnings` come before everything else."""
    resolution: list[dict[str, Any]] = []
    sentences: dict[tuple[str, float], str] = {}
    secondary: dict[tuple[str, float], list[str]] = {}
    uncompared: list[str] = []
    remarks: list[str] = []
    for part in statistics:
        named = {record.label for record in part.records if record.spec in requested}
        compared = False
        for at in part.budgets:
            resolution.append(_resolution_row(part.backbone, at.budget, at.verdict))
            if at.reference is None:
                continue
            compared = True
            dense, made_up = part.dense, part.records[0].made_up
            setting = Setting(
                part.backbone, spec.data, at.budget, dense.accuracy, made_up, dense.kind
            )
            best = best_tested(at.compared, named)
            key = part.backbone, at.budget
            sentences[key] = best_sentence(setting, at.verdict, best)
            rows = [row for row in at.compared if row.label in named and row.p_holm is not None]
            secondary[key] = []
            for row in rows if len(rows) <= FEW else ():
                if row is not best:
                    secondary[key].append(pair_sentence(setting, row))
        if not compared and len(spec.backbones) > 1:
            uncompared.append(
                f"On {part.backbone} no method that was asked for ran, so none is compared with "
                "another."
            )
        if smaller := smaller_image(part):
            remarks.append(smaller)
    warned = list(warnings)
    if not sentences:
        return Headline(NOTHING_COMPARED, resolution, warned, [], warned)
    # One sentence a backbone leads; the other budgets follow in the paragraphs.
    shown = _one_budget_each(list(sentences))
    leading = []
    for key in shown:
        leading += [sentences[key], *secondary[key]]
    headline, *beside = [*leading, *uncompared]
    others = [text for key, text in sentences.items() if key not in shown]
    return Headline(headline, resolution, warned, beside, [*warned, *beside, *remarks, *others])


def _one_budget_each(keys: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """The budget to show of each backbone: the middle one of the first, or else its own middle."""
    budgets: dict[str, list[float]] = {}
    for backbone, budget in keys:
        budgets.setdefault(backbone, []).append(budget)
    first = next(iter(budgets.values()))
    # One budget for all backbones where possible, so that their sentences can be compared.
    common = first[len(first) // 2]
    shown = []
    for backbone, own in budgets.items():
        shown.append((backbone, common if common in own else own[len(own) // 2]))
    return shown


def _resolution_row(backbone: str, budget: float, judged: Verdict) -> dict[str, Any]:
    return {
        "backbone": backbone,
        "budget": budget,
        "smallest_detectable": judged.smallest,
        "can_rank": judged.can_rank,
        "sentence": judged.text,
    }


def best_tested(rows: Iterable[Comparison], named: Collection[str]) -> Comparison | None:
    """The most accurate of the tested rows; of equal ones that of a method in `named`."""
    # A method that was not named but is better must not be passed over in the headline.
    tested = [row for row in rows if row.p_holm is not None]
    return max(tested, key=lambda row: (row.accuracy, row.label in named), default=None)


def best_sentence(setting: Setting, judged: Verdict, best: Comparison | None) -> str:
    """The reference against the best other method of the same work; None if there is none."""
    # That the data cannot rank is said first; the difference follows as a measurement.
    doubt = "" if judged.can_rank else f"{judged.text} "
    if best is None:
        return (
            f"{doubt}No other method was run at the same FLOPs, within 0.5 point, on "
            f"{setting.place}."
        )
    budget = f"with {100 * setting.budget:.4g} % of FLOPs removed"
    relation = _relation(best, "the best other method, ", setting.kind)
    power = (
        f"{counted(best.images, setting.kind)} find a true difference of "
        f"{100 * best.smallest:.1f} points in four runs of five"
    )
    if best.smallest >= 1:
        power = too_few(best.images, setting.kind)
    return f"{doubt}On {setting.place} {budget}, {relation} ({_figures(best, setting)}); {power}."


def pair_sentence(setting: Setting, row: Comparison) -> str:
    """The reference of `row` against its method, in figures."""
    model = called(setting.backbone, setting.made_up) + ("," if setting.made_up else "")
    place = f"On {model} with {100 * setting.budget:.4g} % removed"
    return f"{place} {_relation(row, '', setting.kind)} ({_figures(row, setting)})."


def _relation(row: Comparison, rank: str, kind: str) -> str:
    """The reference of `row` against its method, called by its `rank`, in words."""
    points = f"{abs(100 * row.difference):.1f} points of top-1"
    other = f"{rank}{row.label}," if rank else row.label
    if row.only_method_correct == row.only_reference_correct == 0:
        return f"{row.reference} and {other} are {same_answers(row.images, kind)}"
    gap = signed_points(-100 * row.difference)
    signed = f"{row.reference} minus {row.label} is {gap} points of top-1"
    # Rejected over all seeds together, while the range over single seeds reaches zero.
    if row.rejected and not row.significant:
        scope = "every seed" if row.kind == "range" else "seeds in general"
        return f"{row.reference} and {other} differ, though not for {scope}: {signed}"
    if not row.significant:
        return f"{row.reference} and {other} cannot be told apart: {signed}"
    if row.difference < 0:
        return f"{row.reference} keeps {points} more than {rank}{row.label}"
    return f"{row.reference} keeps {points} less than {row.label}"


def _figures(row: Comparison, setting: Setting) -> str:
    """Interval of reference minus method, both accuracies, the dense one, and p."""
    # Rows are method minus reference; the sentence has the reference first, so ends change places.
    low, high = signed_points(-100 * row.difference_high), signed_points(-100 * row.difference_low)
    spread = f"95 % interval of the difference {low} to {high}"
    if row.kind == "range":
        spread = f"difference {low} to {high} over the 95 % intervals of the seeds"
    assert row.p_holm is not None, "only tested rows are put into words"
    p = "p < 0.001" if row.p_holm < 0.001 else f"p = {row.p_holm:.3f}"
    return (
        f"{spread}, {_percent(row.reference_accuracy)} against {_percent(row.accuracy)}, "
        f"dense {_percent(setting.dense_accuracy)}, {p}; interval and p are "
        f"corrected for {comparisons_words(row.comparisons)} by Holm's method"
    )


def comparisons_words(count: int | None) -> str:
    """For how many comparisons something is corrected."""
    return "1 comparison" if count == 1 else f"{count} comparisons"


def signed_points(points: float) -> str:
    """One digit, or as many as show on which side of zero the number lies."""
    points = round(points, 6)  # a mean may miss zero by rounding
    if not points:
        return "0.0"
    # An interval that excludes zero must not be printed with an end of 0.0.
    digits = 1
    while not float(f"{points:.{digits}f}"):
        digits += 1
    return f"{points:+.{digits}f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def smaller_image(part: BackboneStatistics) -> str:
    """Compare each smaller image with the best reduction of the budget nearest in FLOPs removed.

    Seeds are averaged. Both shares are named, since they differ. Empty without smaller images.
    """
    rows = []
    for record in part.records:
        if record.budget and record.metrics:
            small, top1 = record.method == "downsample", record.metrics.top1
            rows.append((small, record.budget, record.label, record.removed_share, top1))
    cells = pd.DataFrame(rows, columns=["small", "budget", "label", "removed", "top1"])
    reduced = cells[~cells.small.astype(bool)]
    if reduced.empty:
        return ""
    means = reduced.groupby(["budget", "label"])[["top1", "removed"]].mean()
    best = means.loc[means.groupby("budget").top1.idxmax()].reset_index()
    # One image size may be the nearest to several budgets.
    sizes = cells[cells.small.astype(bool)].drop_duplicates("removed")
    parts = []
    for size in sizes.itertuples():
        # An image size has no budget of its own: it costs what its grid costs.
        nearest = best.loc[(best.removed - size.removed).abs().idxmin()]
        parts.append(
            f"{_percent(size.top1)} top-1 at {round(100 * size.removed, 1):g} % fewer FLOPs (best "
            f"token reduction, at {round(100 * nearest.removed, 1):g} %: {nearest.label}, "
            f"{_percent(nearest.top1)})"
        )
    if not parts:
        return ""
    dense = f"On {part.backbone}, dense {_percent(part.dense.accuracy)}"
    return f"{dense}, a smaller image has {'; '.join(parts)}."


def run_warnings(
    statistics: Sequence[BackboneStatistics],
    spec: RunSpec,
    classes: int,
    published: Mapping[str, PublishedFile],
) -> list[str]:
    """Warn of a training split, of made-up weights, and of dense models that are not as published.

    `published` gives, by backbone, what its weights are known to score on this data.
    """
    kinds = [part.dense.kind for part in statistics]
    warnings = [TRAINED_ON.format(kind=kinds[0])] if spec.split == "train" and kinds else []
    for part in statistics:
        # of one backbone, which has the same weights in all cells
        if made_up := made_up_warning(part.backbone, part.records[0].made_up):
            warnings.append(made_up)
        if chance := at_chance(part.dense, part.backbone, classes):
            warnings.append(chance)
        if part.backbone in published:
            row = published[part.backbone]
            if warning := accuracy_warning(part.dense, part.backbone, row):
                warnings.append(warning)
    return warnings


def at_chance(dense: Outcomes, backbone: str, classes: int) -> str:
    """Warn that the dense model is no better than guessing; empty if it is better."""
    # The lower bound: a few images above chance by luck are no evidence of loaded weights.
    low, _ = wilson(round(dense.accuracy * dense.count), dense.count)
    if low > 1 / classes:
        return ""
    return (
        f"{backbone} itself is right on {_percent(dense.accuracy)} of these {dense.kind}, no "
        f"better than guessing among {classes} classes: check that the weights belong to this data "
        "and that they were loaded."
    )

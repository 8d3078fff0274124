"""The findings of a comparison in words: a headline, warnings, and paragraphs for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pandas as pd

from backbones.checkpoints.published import PublishedFile
from backbones.common.labels import data_label
from suite.analysis.brief import Brief
from suite.analysis.pair_schedules import Schedules
from suite.analysis.pair_sentences import (
    Setting,
    best_sentence,
    best_tested,
    pair_sentence,
    percent,
)
from suite.analysis.published_accuracy import accuracy_warning
from suite.analysis.statistics import BackboneStatistics
from suite.config.run_spec import RunSpec
from suite.plan.notes import made_up_warning
from suite.stats import blind_baselines, schedule_words
from suite.stats.blind_baselines import beaten_words, stand_ins
from suite.stats.correctness import Outcomes, counted
from suite.stats.metric import MIOU
from suite.stats.schedule_words import verdict_sentences
from suite.stats.schedules import ScheduleVerdicts
from suite.stats.verdict import GRID_BLIND, Verdict

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
    ``schedules``   whether the order of the methods holds over schedules
    ``blind``       which methods were shown to beat the blind baselines
    ``answers``     who leads on each backbone, a row each (see `suite.analysis.brief`)
    ``doubts``      why the images may not answer that
    ``brief``       at most three sentences, in place of all the others on a terminal
    """

    headline: str
    resolution: list[dict[str, Any]]
    warnings: list[str]
    beside: list[str]
    paragraphs: list[str]
    schedules: list[str] = field(default_factory=list)
    blind: list[str] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    brief: list[str] = field(default_factory=list)

    def in_brief(self, found: Brief) -> Headline:
        """These findings with those that a terminal prints."""
        return replace(self, answers=found.answers, doubts=found.doubts, brief=found.sentences)

    def record(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def make_headline(
    statistics: Sequence[BackboneStatistics],
    spec: RunSpec,
    requested: Mapping[str, str],
    warnings: Sequence[str],
    verdicts: Sequence[ScheduleVerdicts] = (),
) -> Headline:
    """Put the statistics of a run into words; `warnings` come before everything else.

    `verdicts` over schedules keep a lead that depends on them from being called one.
    """
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
            data, split = data_label(spec.data), part.records[0].split
            setting = Setting(
                part.backbone,
                data,
                at.budget,
                dense.accuracy,
                made_up,
                dense.kind,
                split,
                dense.metric,
            )
            best = best_tested(at.compared, named)
            key = part.backbone, at.budget
            schedules = Schedules.of(part.records, at.budget, verdicts)
            sentences[key] = best_sentence(setting, at.verdict, best, schedules)
            rows = [row for row in at.compared if row.label in named and row.p_holm is not None]
            secondary[key] = []
            for row in rows if len(rows) <= FEW else ():
                if row is not best:
                    secondary[key].append(pair_sentence(setting, row, schedules))
        if not compared and len(spec.backbones) > 1:
            uncompared.append(
                f"On {part.backbone} no method that was asked for ran, so none is compared with "
                "another."
            )
        if smaller := smaller_image(part):
            remarks.append(smaller)
    warned = list(warnings)
    over, blind = _over_schedules(statistics, verdicts), _beside_blind(statistics, spec)
    if not sentences:
        return Headline(NOTHING_COMPARED, resolution, warned, [], warned, over, blind)
    # One sentence a backbone leads; the other budgets follow in the paragraphs.
    shown = _one_budget_each(list(sentences))
    leading = []
    for key in shown:
        leading += [sentences[key], *secondary[key]]
    headline, *beside = [*leading, *uncompared]
    others = [text for key, text in sentences.items() if key not in shown]
    paragraphs = [*warned, *beside, *remarks, *others]
    return Headline(headline, resolution, warned, beside, paragraphs, over, blind)


def _over_schedules(
    statistics: Sequence[BackboneStatistics], verdicts: Sequence[ScheduleVerdicts]
) -> list[str]:
    """The verdicts over schedules, and their rule."""
    kind = statistics[0].dense.kind if statistics else "images"
    found = [sentence for each in verdicts for sentence in verdict_sentences(each, kind)]
    return [*found, schedule_words.RULE] if found else []


def _beside_blind(statistics: Sequence[BackboneStatistics], spec: RunSpec) -> list[str]:
    """Which methods were shown to beat the blind baselines, a sentence a backbone, and the rule.

    Also why these are others than usual.
    """
    found = []
    for part in statistics:
        comparisons = [at.blind for at in part.budgets if at.blind]
        if words := beaten_words(comparisons, compared_on(part)):
            found.append(words)
            ran = {record.method for record in part.records if record.blind}
            # the usual ones run beside any method where they can
            if spec.baselines and ran <= set(GRID_BLIND):
                found.append(stand_ins(part.backbone))
    return [*found, blind_baselines.RULE] if found else []


def compared_on(part: BackboneStatistics) -> str:
    """The images of a backbone, in words."""
    return counted(part.dense.count, part.dense.kind, part.records[0].split)


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


def smaller_image(part: BackboneStatistics) -> str:
    """Compare each smaller image, and each smaller model, with the best reduction of like FLOPs.

    That is of the budget nearest in FLOPs removed; both shares are named, since they differ. Seeds
    are averaged. Empty without smaller images and models.
    """
    rows = []
    for record in part.records:
        if record.budget and record.metrics:
            small, top1 = record.method == "downsample", record.metrics.accuracy
            rows.append((small, record.budget, record.label, record.removed_share, top1))
    cells = pd.DataFrame(rows, columns=["small", "budget", "label", "removed", "top1"])
    reduced = cells[~cells.small.astype(bool)]
    if reduced.empty:
        return ""
    means = reduced.groupby(["budget", "label"])[["top1", "removed"]].mean()
    best = means.loc[means.groupby("budget").top1.idxmax()].reset_index()
    # One image size may be the nearest to several budgets.
    sizes = cells[cells.small.astype(bool)].drop_duplicates("removed")
    images = [beside_best(size.top1, size.removed, best) for size in sizes.itertuples()]
    parts = [f"a smaller image keeps {', '.join(images)}"] if images else []
    for model in part.smaller:
        figures = beside_best(model.accuracy, model.removed, best)
        parts.append(f"a smaller model, {model.label}, keeps {figures}")
    if not parts:
        return ""
    # What stands in brackets is said once.
    said = "; ".join(parts).replace("(", "(best token reduction: ", 1)
    return f"On {part.backbone}, {compared_on(part)}, {said}."


def beside_best(top1: float, removed: float, best: pd.DataFrame) -> str:
    """Top-1 at a share of FLOPs removed, and the row of `best` that removes about as much."""
    # What is smaller has no budget of its own: it costs what its size costs.
    nearest = best.loc[(best.removed - removed).abs().idxmin()]
    return (
        f"{percent(top1)} at {round(-100 * removed, 1):g} % FLOPs "
        f"({nearest.label}, {percent(nearest.top1)} at {round(-100 * nearest.removed, 1):g} %)"
    )


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
    """Warn that the dense model is no better than guessing; empty if it is better.

    One class named everywhere has a mean IoU below one over their number, too.
    """
    # The lower bound: a few images above chance by luck are no evidence of loaded weights.
    low, _ = dense.interval()
    if low > 1 / classes:
        return ""
    images = counted(dense.count, dense.kind)
    found = f"is right on {percent(dense.accuracy)} of {images}"
    if dense.metric == MIOU:
        found = f"has a mean IoU of {percent(dense.accuracy)} on {images}"
    return (
        f"{backbone} itself {found}, no better than guessing among {classes} classes: "
        "check that the weights belong to this data and that they were loaded."
    )

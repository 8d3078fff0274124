"""A comparison in brief: the answer on each backbone in a line, and at most three sentences.

The terminal prints them, and ``--json`` has them; all that they leave out is in the other findings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from suite.analysis.pair_sentences import power_sentence
from suite.analysis.statistics import BackboneStatistics, BudgetStatistics
from suite.stats.blind_baselines import BlindComparison
from suite.stats.correctness import counted
from suite.stats.ranking import Leader, focus
from suite.stats.schedule_words import listed, order_brief, pairs_brief
from suite.stats.schedules import ScheduleVerdicts
from suite.stats.verdict import Verdict
from suite.store.schema import CellRecord

FEW = 3  # methods, or pairs of methods, that are named each
IGNORANT = "every baseline that ignores the image"


@dataclass(frozen=True)
class Brief:
    """What a terminal says of a comparison.

    ``answers``    for each backbone a row: ``backbone``, ``budget``, ``leader`` (a label),
                   ``level`` (with it all that were not told apart from it), and the ``sentence``
    ``doubts``     why the answers may not be one: the images cannot rank methods there
    ``sentences``  at most three
    """

    answers: list[dict[str, Any]]
    doubts: list[str]
    sentences: list[str]


@dataclass(frozen=True)
class _Shown:
    """One backbone at the budget that is answered for."""

    part: BackboneStatistics
    at: BudgetStatistics
    leader: Leader
    groups: dict[str, int]


def brief(
    statistics: Sequence[BackboneStatistics],
    ranking: pd.DataFrame,
    verdicts: Sequence[ScheduleVerdicts],
) -> Brief:
    """Sum up the `statistics` of a run, with its table ``ranking`` and `verdicts` on schedules."""
    shown = list(_shown(statistics, ranking))
    several = len(shown) > 1
    answers = []
    for one in shown:
        sentence = one.leader.sentence(smaller=smaller_image(one.part.records, one.at.budget))
        if several:
            sentence = f"{one.part.backbone}: {sentence}"
        answers.append(
            {
                "backbone": one.part.backbone,
                "budget": one.at.budget,
                "leader": one.leader.best,
                "level": list(one.leader.level),
                "sentence": sentence,
            }
        )
    candidates = [_against_blind(shown), _over_schedules(shown, verdicts), _power(shown)]
    sentences = [sentence for sentence in candidates if sentence]
    return Brief(answers, list(_doubts(shown)), sentences)


def _shown(statistics: Iterable[BackboneStatistics], ranking: pd.DataFrame) -> Iterator[_Shown]:
    ranked = ranking.dropna(subset=["top1"])
    for part in statistics:
        own = ranked[ranked["backbone"] == part.backbone]
        if own.empty:
            continue
        budget = focus(sorted(own["budget"].unique().tolist()))
        rows = own[own["budget"] == budget]
        at = next(each for each in part.budgets if each.budget == budget)
        groups = dict(zip(rows["label"], rows["group"], strict=True))
        yield _Shown(part, at, Leader.of(rows), groups)


def smaller_image(records: Iterable[CellRecord], budget: float) -> tuple[float, float] | None:
    """Top-1 and share of FLOPs removed of the smaller image nearest to `budget`; None without."""
    sizes = []
    for record in records:
        if record.method == "downsample" and record.metrics and record.removed:
            gap = abs(record.removed_share - budget)
            sizes.append((gap, record.metrics.accuracy, record.removed_share))
    if not sizes:
        return None
    _, top1, removed = min(sizes)
    return top1, removed


def _doubts(shown: Sequence[_Shown]) -> Iterator[str]:
    for one in shown:
        verdict = one.at.verdict
        if verdict.can_rank is False:
            where = f"{one.part.backbone}: " if len(shown) > 1 else ""
            yield where + _cannot_rank(verdict, one)


def _cannot_rank(verdict: Verdict, one: _Shown) -> str:
    """Why the images cannot rank methods, in brief."""
    dense = one.part.dense
    images = counted(dense.count, dense.kind)
    assert verdict.smallest is not None
    assert verdict.loss is not None
    if verdict.smallest >= 1:
        return f"{images} are too few to rank methods."
    change = "loses" if verdict.loss >= 0 else "even gains"
    return (
        f"{images} cannot rank methods at {100 * one.at.budget:.4g} %: {verdict.baseline}, which "
        f"ignores the image, {change} {abs(100 * verdict.loss):.1f} points, and a loss below "
        f"{100 * verdict.smallest:.1f} is easily missed."
    )


def _against_blind(shown: Sequence[_Shown]) -> str:
    """Which methods keep more than the blind baselines."""
    alike: dict[str, list[str]] = {}
    for one in shown:
        if one.at.blind:
            words = _asked_alone(one) or blind_words(one.at.blind)
            alike.setdefault(words, []).append(one.part.backbone)
    several = len(shown) > 1
    parts = [f"on {listed(on)}, {words}" if several else words for words, on in alike.items()]
    # At other budgets it may be otherwise.
    where = f"At {100 * shown[0].at.budget:.4g} % fewer FLOPs" if shown else ""
    return f"{where}, {'; '.join(parts)}." if parts else ""


def blind_words(found: BlindComparison) -> str:
    """Which methods were shown to beat the blind baselines of one budget, in brief."""
    shown = [lead.label for lead in found.leads if lead.shown]
    missed = list(found.not_shown)
    total = len(found.leads)
    if not shown:
        none = f"{missed[0]} is not" if total == 1 else "no method is"
        # Its best schedule, which may be another than that of the table.
        best = f"{found.baseline}, {found.setting}," if found.setting else found.baseline
        return f"{none} shown to keep more than {IGNORANT} ({best} is the best of them)"
    if not missed:
        who = f"all {total} methods keep" if total > FEW else f"{listed(shown)} {_keep(shown)}"
        return f"{who} more than {IGNORANT}"
    if total <= FEW:
        who = f"{listed(shown)} {_keep(shown)}"
        are = "is" if len(missed) == 1 else "are"
        return f"{who} more than {IGNORANT}; {listed(missed)} {are} not shown to"
    if len(shown) <= FEW:
        who = f"of {total} methods {listed(shown)} {_keep(shown)}"
        return f"{who} more than {IGNORANT}, the others are not shown to"
    words = f"{len(shown)} of {total} methods keep more than {IGNORANT}"
    if len(missed) > FEW:
        return words
    return f"{words}; {listed(missed)} {'is' if len(missed) == 1 else 'are'} not shown to"


def _keep(names: Sequence[str]) -> str:
    return "keeps" if len(names) == 1 else "keep"


def _asked_alone(one: _Shown) -> str:
    """That the leader beats a baseline which the answer does not tell apart from it, and why.

    The answer corrects for all methods of the budget, and an interval over several seeds is that of
    all of them; whether a method beats the blind baselines is a question of its own. Empty if the
    two do not differ.
    """
    assert one.at.blind is not None
    beats = {lead.label for lead in one.at.blind.leads if lead.shown}
    blind = {record.label for record in one.part.records if record.blind}
    level = [label for label in one.leader.level if label in blind]
    if one.leader.best not in beats or not level:
        return ""
    are = "is" if len(level) == 1 else "are"
    seeds = {record.seed for record in one.part.records if record.label in level}
    each = ", and by every seed," if len(seeds) > 1 else ""
    return (
        f"tested by itself, {one.leader.best} keeps more than {IGNORANT}; corrected for all "
        f"{len(one.groups) - 1} comparisons{each} {listed(level)} {are} not told apart from it"
    )


def _over_schedules(shown: Sequence[_Shown], verdicts: Sequence[ScheduleVerdicts]) -> str:
    """Whether the order of the methods holds under equal schedules."""
    answered = {one.part.backbone for one in shown}
    parts = []
    for each in verdicts:
        if each.methods and each.backbone in answered:
            few = len(each.methods) <= FEW
            words = "; ".join(map(order_brief, each.methods)) if few else pairs_brief(each.methods)
            where = f"on {each.backbone} " if len(answered) > 1 else ""
            parts.append(f"{where}{words}")
    if not parts:
        return ""
    first = next(each for each in verdicts if each.methods)
    images = counted(first.images, shown[0].part.dense.kind, first.split)
    return f"With the same schedule for both ({images}), {'; '.join(parts)}."


def _power(shown: Sequence[_Shown]) -> str:
    """How small a difference the images miss easily: the largest over backbones."""
    found = []
    for one in shown:
        # Between the best and the one behind it, or between the two that were compared.
        tested = [row for row in one.at.compared if row.p_holm is not None and row.smallest < 1]
        best = max(tested, key=lambda row: row.accuracy, default=None)
        if best is not None:
            found.append((best.smallest, best.images, one.part.dense.kind))
    return power_sentence(*max(found)) if found else ""

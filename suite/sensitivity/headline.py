"""Summarize the analysis in sentences, for the terminal and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import pandas as pd

from backbones.common.labels import data_label
from suite.plan.notes import called
from suite.sensitivity.probe import REFERENCE_RANKINGS
from suite.sensitivity.spec import SensitivitySpec
from suite.sensitivity.token_tables import OVERALL
from suite.stats.correctness import counted
from suite.stats.score_words import Predictor, correlation, score_answer

# Rankings of the score table that are no registered score, but something to compare scores with.
REFERENCES = (*REFERENCE_RANKINGS, "foreground", "place")
# Below so many images the headline warns that intervals over images mean little.
FEW_IMAGES = 8


def summarize_findings(
    spec: SensitivitySpec, frames: Mapping[str, pd.DataFrame], kind: str, made_up: Sequence[str]
) -> dict[str, Any]:
    """Return the main finding as ``headline`` and the others as ``paragraphs``.

    ``answer`` is the finding in a line, ``brief`` at most two sentences, ``warnings`` what makes
    them doubtful.

    `frames` are the tables of `suite.sensitivity.analysis` by name, of images or videos, by their
    `kind`. `made_up` are the parts of the backbone that are not trained.
    """
    scores = frames["sensitivity_scores"]
    candidates = [
        _best_score(scores, kind),
        _estimates(frames["sensitivity_agreement"], kind),
        _first_and_last_block(frames["sensitivity_map"]),
        _foreground(scores),
    ]
    sentences = [sentence for sentence in candidates if sentence]
    headline = f"{called(spec.called, made_up)}, {data_label(spec.data)} {spec.split}"
    if sentences:
        headline += f": {sentences[0]}"
    images = int(scores["images"].max()) if len(scores) else 0
    few = 0 < images < FEW_IMAGES
    brief = (_reach_brief(frames), _estimate_brief(frames), _object_brief(scores))
    return {
        "headline": headline,
        "paragraphs": sentences[1:],
        "warnings": [f"{counted(images, kind)} tell little."] if few else [],
        "answer": answer(scores),
        "brief": [sentence for sentence in brief if sentence][:2],
    }


def answer(scores: pd.DataFrame) -> str:
    """The score that best predicts removal, in a line; empty without scores."""
    ranked = [Predictor.of(row) for _, row in ranked_scores(scores, "removal_kl").iterrows()]
    place = select_rows(scores, target="removal_kl", block=OVERALL, score="place")
    return score_answer(ranked, Predictor.of(place.iloc[0]) if len(place) else None)


def _reach_brief(frames: Mapping[str, pd.DataFrame]) -> str:
    """How many pixels one token changes, and how near they are; empty of classes of images."""
    if "sensitivity_reach" not in frames:
        return ""
    rows = select_rows(frames["sensitivity_reach"], block=OVERALL).set_index("quantity")["mean"]
    where = ""
    if "own" in rows:
        where = f", {100 * rows['own']:.0f} % of them in its own patch"
    return f"Removing one token changes {100 * rows['changed']:.2f} % of the pixels{where}."


def _estimate_brief(frames: Mapping[str, pd.DataFrame]) -> str:
    """How well gradients tell what an exact removal costs."""
    rows = select_rows(
        frames["sensitivity_agreement"],
        block=OVERALL,
        quantity="loss",
        first="estimate",
        second="removal",
    )
    if rows.empty:
        return ""
    row = rows.iloc[0]
    shown = correlation(row["mean"])
    # of fewer than two images there is no interval
    if row["mean"] <= 0 or row["low"] <= 0:
        return (
            "Gradients are not shown to predict the loss by an exact removal (rank correlation "
            f"{shown})."
        )
    return f"Gradients predict the loss by an exact removal with rank correlation {shown}."


def _object_brief(scores: pd.DataFrame) -> str:
    """Which score knows the object best."""
    ranked = ranked_scores(scores, "foreground")
    if ranked.empty:
        return ""
    best = ranked.iloc[0]
    return (
        f"Of the scores that methods use, {best.score} tells object from background best: AUC "
        f"{best['mean']:.2f}, 0.5 is chance."
    )


def select_rows(frame: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """Return the rows of `frame` in which the columns have these values."""
    for name, value in values.items():
        frame = frame[frame[name] == value]
    return frame


def ranked_scores(scores: pd.DataFrame, target: str) -> pd.DataFrame:
    """Return the overall rows of the registered scores for `target`, best first."""
    rows = select_rows(scores, target=target, block=OVERALL)
    rows = rows[~rows.score.isin(REFERENCES)]
    # Stable, so that scores with equal means keep the order of the registry.
    return rows.sort_values("mean", ascending=False, kind="stable")


def _best_score(scores: pd.DataFrame, kind: str) -> str:
    """Name the score that best predicts removal, unless the runner-up's interval overlaps."""
    ranked = ranked_scores(scores, "removal_kl")
    if ranked.empty:
        return ""
    best = ranked.iloc[0]
    figures = (
        f"rank correlation {interval(best)} with how far their exact removal moves the answer "
        f"(mean over blocks, {counted(int(best.images), kind)})"
    )
    sentence = f"the score that best predicts which tokens matter is {best.score}, {figures}"
    # The best of many scores is best by chance too: it is claimed only where intervals part.
    if len(ranked) > 1 and not lies_above(best, ranked.iloc[1]):
        runner_up = ranked.iloc[1]
        sentence = (
            f"of the scores {best.score} came out highest at predicting which tokens matter, "
            f"{figures}, but its interval overlaps that of the next, {runner_up.score}, "
            f"{interval(runner_up)}"
        )
    place = select_rows(scores, target="removal_kl", block=OVERALL, score="place")
    if len(place):
        sentence += (
            f"; the place in the image alone, read from the other {kind}, has "
            f"{interval(place.iloc[0])}"
        )
    by_loss = ranked_scores(scores, "removal_loss")
    if len(by_loss):
        sentence += (
            f". With what removal costs in loss the highest, {by_loss.iloc[0].score}, has "
            f"{interval(by_loss.iloc[0])}"
        )
    warning = f" So few {kind} tell little." if best.images < FEW_IMAGES else ""
    return f"{sentence}.{warning}"


def lies_above(best: Any, following: Any) -> bool:
    """Whether the interval of `best` lies above that of `following`."""
    # A bound that is NaN, of fewer than two images, compares as false.
    return bool(best["low"] > following["high"])


def _estimates(agreement: pd.DataFrame, kind: str) -> str:
    """Say how well the gradient estimates agree with zeroing and removal."""

    def correlation(quantity: str, first: str, second: str) -> str:
        rows = select_rows(agreement, block=OVERALL, quantity=quantity, first=first, second=second)
        if rows.empty:
            return ""
        return f"{interval(rows.iloc[0])} ({counted(int(rows.iloc[0]['images']), kind)})"

    parts = []
    for exact in ("zeroing", "removal"):
        # Zeroing may have been measured on no image.
        if figures := correlation("loss", "estimate", exact):
            parts.append(f"{figures} with {exact}")
    if not parts:
        return ""
    return (
        f"Gradient times activation has rank correlation {' and '.join(parts)}, by the loss, all "
        f"blocks together; the product of their lengths has "
        f"{correlation('kl', 'bound', 'removal')} with how far removal moves the answer."
    )


def _first_and_last_block(maps: pd.DataFrame) -> str:
    """Compare the mean effect of one removal before the first and the last block."""
    if "removal_kl" not in maps:
        return ""
    effects = ["removal_kl", "removal_loss", "removal_flip"]
    # dropna: the rows after the last block have scores only.
    mean = maps.groupby("block")[effects].mean().dropna()
    first, last = mean.iloc[0], mean.iloc[-1]
    return (
        f"Removing one token moves the answer by {first.removal_kl:.4f} nats on average before "
        f"block {mean.index[0]} and by {last.removal_kl:.4f} before block {mean.index[-1]}, and "
        f"flips {100 * first.removal_flip:.2f} % and {100 * last.removal_flip:.2f} % of the "
        f"predictions."
    )


def _foreground(scores: pd.DataFrame) -> str:
    """Say which scores separate object and background best and worst."""
    ranked = ranked_scores(scores, "foreground")
    if ranked.empty:
        return ""
    # A score below 0.5 ranks the background first: the worst is worth naming, too.
    best, worst = ranked.iloc[0], ranked.iloc[-1]
    return (
        f"A token of the object is ranked above one of the background with probability "
        f"{interval(best)} by {best.score}, the best of the scores, and {interval(worst)} by "
        f"{worst.score}, the worst; blind: 0.5."
    )


def interval(row: Any) -> str:
    """Format a row as ``0.41 [0.38, 0.44]``, or without the interval where it has none."""
    bounds = f" [{row['low']:.2f}, {row['high']:.2f}]" if isfinite(row["low"]) else ""
    return f"{row['mean']:.2f}{bounds}".replace("-", "−")

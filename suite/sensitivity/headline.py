"""What the analysis says in words; the report and the terminal print it."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

import pandas as pd

from suite.sensitivity.spec import SensitivitySpec
from suite.sensitivity.token_tables import OVERALL

REFERENCES = (
    "zeroing",
    "estimate",
    "bound",
    "foreground",
    "place",
    "removal",
    "removal-kl",
)  # rankings that are no score
FEW = 8  # images below which little can be told


def summarize_findings(spec: SensitivitySpec, frames: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """``headline``, a sentence, and ``paragraphs``, as `reports` reads them."""
    found = [_scores(frames["sensitivity_scores"]), _estimate(frames["sensitivity_agreement"])]
    found += [_layers(frames["sensitivity_map"]), _foreground(frames["sensitivity_scores"])]
    sentences = [sentence for sentence in found if sentence]
    images = f"{spec.backbone}, {spec.data} {spec.split}"
    return {
        "headline": f"{images}: {sentences[0]}" if sentences else images,
        "paragraphs": sentences[1:],
    }


def ranked_scores(scores: pd.DataFrame, target: str) -> pd.DataFrame:
    """Over all blocks, every registered score with what it knows of `target`, best first; references left out."""
    rows = scores[
        (scores.target == target) & (scores.block == OVERALL) & ~scores.score.isin(REFERENCES)
    ]
    return rows.sort_values("mean", ascending=False, kind="stable")


def _scores(scores: pd.DataFrame) -> str:
    rows = ranked_scores(scores, "removal_kl")
    if rows.empty:
        return ""
    best, costs = rows.iloc[0], ranked_scores(scores, "removal_loss")
    known = f"rank correlation {interval(best)} with how far their exact removal moves the answer"
    over = f"(mean over blocks, {best.images} images)"
    if len(rows) > 1 and not above(best, rows.iloc[1]):
        follower = f"its interval overlaps that of the next, {rows.iloc[1].score}, {interval(rows.iloc[1])}"
        sentence = f"of the scores {best.score} came out highest at which tokens matter, {known} {over}, but {follower}"
    else:
        sentence = f"the score that knows best which tokens matter is {best.score}, {known} {over}"
    place = scores[
        (scores.target == "removal_kl") & (scores.block == OVERALL) & (scores.score == "place")
    ]
    if len(place):
        sentence += f"; the place in the image alone, read from the other images, has {interval(place.iloc[0])}"
    if len(costs):
        sentence += f". With what removal costs in loss the highest, {costs.iloc[0].score}, has {interval(costs.iloc[0])}"
    few = " So few images tell little." if best.images < FEW else ""
    return f"{sentence}.{few}"


def above(best: Any, following: Any) -> bool:
    """Whether the interval of the highest lies above that of the next; never where one has none."""
    return bool(best["low"] > following["high"])


def _estimate(agreement: pd.DataFrame) -> str:
    rows = agreement[agreement.block == OVERALL]

    def told(quantity: str, first: str, second: str) -> list[str]:
        those = rows[
            (rows.quantity == quantity) & (rows["first"] == first) & (rows.second == second)
        ]
        return [f"{interval(row)} ({row['images']} images)" for _, row in those.iterrows()]

    zeroing, removal = (told("loss", "estimate", second) for second in ("zeroing", "removal"))
    parts = [
        f"{found[0]} with {words}"
        for found, words in ((zeroing, "zeroing"), (removal, "removal"))
        if found
    ]
    if not parts:
        return ""
    sentence = f"Gradient times activation has rank correlation {' and '.join(parts)}, by the loss, all blocks together"
    bound = told("kl", "bound", "removal")
    return f"{sentence}; the product of their lengths has {bound[0]} with how far removal moves the answer."


def _layers(maps: pd.DataFrame) -> str:
    if "removal_kl" not in maps:
        return ""
    mean = maps.groupby("block")[["removal_kl", "removal_loss", "removal_flip"]].mean().dropna()
    first, last = mean.iloc[0], mean.iloc[-1]
    return (
        f"Removing one token moves the answer by {first.removal_kl:.4f} nats on average before block {mean.index[0]} "
        f"and by {last.removal_kl:.4f} before block {mean.index[-1]}, and flips {100 * first.removal_flip:.2f} % and "
        f"{100 * last.removal_flip:.2f} % of the predictions."
    )


def _foreground(scores: pd.DataFrame) -> str:
    rows = ranked_scores(scores, "foreground")
    if rows.empty:
        return ""
    best, worst = rows.iloc[0], rows.iloc[-1]
    return (
        f"A token of the object is ranked above one of the background with probability {interval(best)} by "
        f"{best.score}, the best of the scores, and {interval(worst)} by {worst.score}, the worst; blind: 0.5."
    )


def interval(row: Any) -> str:
    """``0.41 [0.38, 0.44]``, the interval left out where there is none."""
    bounds = f" [{row['low']:.2f}, {row['high']:.2f}]" if isfinite(row["low"]) else ""
    return f"{row['mean']:.2f}{bounds}".replace("-", "−")

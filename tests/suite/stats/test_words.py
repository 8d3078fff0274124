"""Answers in a line: of an ablation, of scores, and of speed."""

import re
from typing import Any

import pandas as pd
import pytest

from suite.stats.ablation_words import ablation_answers
from suite.stats.score_words import Predictor, score_answer
from suite.stats.speed_words import speed_answer, speed_brief


def settings(*rows: tuple[str, float, bool | None]) -> pd.DataFrame:
    """An axis of mtr at 40 %: words, top-1, and whether told apart; the first is the method."""
    reference = rows[0][1]
    made = []
    for place, (words, top1, significant) in enumerate(rows):
        row: dict[str, Any] = {"axis": "order", "backbone": "b", "method": "mtr", "budget": 0.4}
        row |= {"setting": words, "status": "ok", "top1": top1, "is_reference": place == 0}
        made.append(row | {"difference": top1 - reference, "significant": significant})
    return pd.DataFrame(made)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (
            [("restored", 0.7, None), ("score", 0.9, True), ("odd", 0.5, True)],
            "score keeps 20.0 points more than MTR at 40 % fewer FLOPs; of 2 settings of order 1 "
            "keep more and 1 less.",
        ),
        (
            [("restored", 0.7, None), ("score", 0.9, True), ("odd", 0.9, True)],
            "score and odd keep 20.0 points more than MTR at 40 % fewer FLOPs; of 2 settings of "
            "order 2 keep more and 0 less; score and odd tie for the highest top-1, 90.0 %.",
        ),
        (
            [("restored", 0.7, None), ("score", 0.7, False), ("odd", 0.5, True)],
            "No setting of order keeps more than MTR at 40 % fewer FLOPs; 1 of 2 keep less, most so "
            "odd, -20.0 points; restored and score tie for the highest top-1, 70.0 %.",
        ),
        (
            [("restored", 0.7, None), ("score", 0.72, False)],
            "No setting of order is told apart from MTR at 40 % fewer FLOPs.",
        ),
    ],
)
def test_an_ablation_says_what_keeps_more_and_a_tie_at_the_top(
    rows: list[tuple[str, float, bool | None]], sentence: str
) -> None:
    (found,) = ablation_answers(settings(*rows), str.upper)
    assert found["sentence"] == sentence
    assert found["leader"] == found["level"][0]
    assert (len(found["level"]) > 1) == ("tie" in sentence)


def test_an_ablation_of_two_backbones_names_them_and_one_of_nothing_says_nothing() -> None:
    one = settings(("restored", 0.7, None), ("score", 0.72, False))
    both = pd.concat([one, one.assign(backbone="c")])
    assert [row["sentence"][:3] for row in ablation_answers(both)] == ["b: ", "c: "]
    assert ablation_answers(one.assign(status="skipped")) == []


def test_a_score_leads_only_where_its_interval_lies_above() -> None:
    best, near, far = (
        Predictor("delta", 0.5, 0.45, 0.55),
        Predictor("norm", 0.48, 0.4, 0.5),
        Predictor("b", 0.2, 0.1, 0.3),
    )
    place = Predictor("place", -0.1, -0.2, 0.0)
    assert score_answer([best, far], place) == (
        "delta best predicts which tokens move the answer (rank correlation 0.50); the mean map of "
        "other images reaches −0.10."
    )
    level = score_answer([best, near, far], None)
    assert "not told apart from norm (0.48)" in level
    assert score_answer([], place) == ""
    assert score_answer([far], best._replace(name="place")) == (
        "Of the scores b best predicts which tokens move the answer (rank correlation 0.20); the "
        "mean map of other images, which does not look at the image, predicts better: 0.50."
    )


def timed(label: str, budget: float, speedup: float, verdict: str) -> dict[str, Any]:
    row = {"backbone": "b", "label": label, "budget": budget, "removed": budget, "batch": 32}
    row |= {"precision": "fp32", "tokens": 196, "kind": "images", "images_per_second": 100.0}
    return row | {"speedup": speedup, "verdict": verdict}


def test_the_fastest_method_is_named_at_one_budget() -> None:
    rows = [timed("none", 0.0, 1.0, "dense"), timed("mtr", 0.2, 1.1, "no gain shown")]
    rows += [timed("mtr", 0.4, 1.4, "faster"), timed("tome", 0.4, 1.2, "faster")]
    assert speed_answer(rows) == (
        "mtr is the fastest: it runs 1.40 times as fast as the dense model at 40 % fewer FLOPs "
        "(batch 32); by FLOPs it would be 1.67."
    )
    assert speed_answer(rows[:1]) == "b does 100.0 images a second, dense, at batch 32."
    first, second = speed_brief(rows)
    assert first == "Dense, at batch 32: b 100.0 images a second."
    assert re.search("in 1 of 3 timings", second)

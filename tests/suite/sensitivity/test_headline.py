"""What the analysis claims of its scores."""

import pandas as pd
import pytest

from suite.sensitivity.headline import _estimate_brief, summarize_findings
from suite.sensitivity.spec import SensitivitySpec
from suite.sensitivity.token_tables import OVERALL

NOTHING = pd.DataFrame({"block": [], "quantity": [], "first": [], "second": []})


def headline(
    images: int,
    *rows: tuple[str, float, float, float],
    kind: str = "images",
    made_up: tuple[str, ...] = (),
) -> str:
    scores = pd.DataFrame(
        [
            {
                "target": "removal_kl",
                "block": OVERALL,
                "score": score,
                "mean": mean,
                "low": low,
                "high": high,
                "images": images,
            }
            for score, mean, low, high in rows
        ]
    )
    frames = {
        "sensitivity_scores": scores,
        "sensitivity_agreement": NOTHING,
        "sensitivity_map": pd.DataFrame(),
    }
    return str(summarize_findings(SensitivitySpec(), frames, kind, made_up)["headline"])


def test_a_score_is_the_best_where_its_interval_lies_above_the_next() -> None:
    text = headline(50, ("delta", 0.3, 0.2, 0.4), ("norm", 0.6, 0.5, 0.7), ("place", 0.9, 0.8, 1.0))
    best = "the score that best predicts which tokens matter is norm"
    assert f"{best}, rank correlation 0.60 [0.50, 0.70]" in text
    assert "overlaps" not in text
    assert "So few images" not in text


@pytest.mark.parametrize("high", [0.5, 0.55, float("nan")])
def test_a_score_within_the_reach_of_the_next_only_came_out_highest(high: float) -> None:
    text = headline(8, ("norm", 0.6, 0.5, 0.7), ("delta", 0.4, 0.3, high))
    assert "best predicts" not in text
    assert "norm came out highest" in text
    assert "but its interval overlaps that of the next, delta, 0.40" in text
    assert "So few images" not in text


@pytest.mark.parametrize(("mean", "shown"), [(-0.15, False), (0.15, False), (0.4, True)])
def test_gradients_predict_where_their_interval_lies_above_zero(mean: float, shown: bool) -> None:
    row = {"block": OVERALL, "quantity": "loss", "first": "estimate", "second": "removal"}
    agreement = pd.DataFrame([row | {"mean": mean, "low": mean - 0.2, "high": mean + 0.2}])
    text = _estimate_brief({"sensitivity_agreement": agreement})
    assert text.startswith("Gradients predict the loss") == shown
    assert text.startswith("Gradients are not shown to predict the loss") != shown


def test_few_images_are_said_to_tell_little() -> None:
    assert headline(7, ("norm", 0.6, 0.5, 0.7)).endswith(" images). So few images tell little.")


def test_videos_are_called_videos_and_what_is_made_up_is_said() -> None:
    row = ("delta", 0.3, 0.2, 0.4)
    text = headline(3, row, kind="videos", made_up=("head (random)",))
    assert text.startswith("vim_nano, made up in part: head (random), fashion-clutter dev: ")
    assert "(mean over blocks, 3 videos)" in text
    assert text.endswith("So few videos tell little.")

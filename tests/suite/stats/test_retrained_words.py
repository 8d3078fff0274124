"""What is said of an order of methods, and of two settings, before and after training."""

from typing import Any

import pytest

from suite.stats.retrained_words import contrast_words, order_words

ORDER = {"backbone": "net", "budget": 0.4, "methods": 5, "concordance": 0.8}
ORDER |= {"concordance_low": 0.4, "concordance_high": 1.0, "p": 0.042}
FOUND = "Kendall's tau 0.80 [0.40, 1.00], p 0.042"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {},
            "The order of 5 methods on net at -40 % FLOPs without training predicts that after it: "
            f"{FOUND}.",
        ),
        (
            {"p": 0.06},
            "The order of 5 methods on net at -40 % FLOPs without training is not shown to predict "
            "that after it: Kendall's tau 0.80 [0.40, 1.00], p 0.06.",
        ),
        (
            {"methods": 3},
            "3 methods on net at -40 % FLOPs are too few to show whether their order without "
            f"training predicts that after it ({FOUND}).",
        ),
        (
            {"concordance": float("nan")},
            "The 5 methods on net at -40 % FLOPs are level, so that no order predicts another.",
        ),
    ],
)
def test_an_order_predicts_only_where_it_is_shown(changed: dict[str, Any], words: str) -> None:
    assert order_words({**ORDER, **changed}) == words


CONTRAST = {"backbone": "net", "budget": 0.4, "label": "tome", "reference": "tome[weights=drop]"}
CONTRAST |= {"setting": "weights as it is against drop", "significant": False}
CONTRAST |= {"difference_before": 0.042, "before_low": 0.01, "before_high": 0.08}
CONTRAST |= {"difference": -0.005, "difference_low": -0.02, "difference_high": 0.01}
CONTRAST |= {"change": -0.047, "change_low": -0.08, "change_high": -0.02}


@pytest.mark.parametrize(
    ("changed", "ending"),
    [
        ({}, "training brings them nearer; no difference is shown at the end."),
        ({"change_high": 0.01}, "no change is shown; no difference is shown at the end."),
        (
            {"difference": 0.07, "significant": True},
            "training sets them apart; a difference is left.",
        ),
    ],
)
def test_two_settings_are_set_beside_each_other(changed: dict[str, Any], ending: str) -> None:
    words = contrast_words({**CONTRAST, **changed}, str.upper)
    assert words.startswith(
        "TOME less TOME[WEIGHTS=DROP] (weights as it is against drop) on net at -40 % FLOPs: "
        "+4.2 [+1.0, +8.0] points without training, "
    )
    assert words.endswith(f"after it; {ending}")

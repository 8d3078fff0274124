"""Sentences on two methods, and how figures are written in them."""

import re
from dataclasses import replace

import numpy as np
import pytest

from suite.analysis.pair_sentences import (
    Setting,
    best_sentence,
    best_tested,
    pair_sentence,
    signed_points,
)
from suite.stats.compare import compare_to_reference
from suite.stats.correctness import Outcomes
from suite.stats.hits import Hits
from suite.stats.verdict import verdict


def cell(
    label: str,
    share: float,
    *,
    n: int = 1000,
    seeds: int = 1,
    removed: float = 0.4,
    seed: int = 0,
) -> Outcomes:
    """About `share` of the images right, the easy ones first, with a little noise of its own."""
    easy = (np.arange(n) * 0.618034) % 1
    noise = np.random.default_rng((len(label), seed)).normal(0, 0.05, (seeds, n))
    return Hits(label, easy + noise < share, np.arange(n), removed)


REFERENCE = cell("mtr", 0.62)
DENSE = cell("none", 0.85, removed=0.0)
SETTING = Setting("vim_nano", "fashion-clutter", 0.4, 0.85, split="test")


@pytest.mark.parametrize(
    ("points", "text"),
    [
        (-0.04, "-0.04"),
        (0.04, "+0.04"),
        (0.0, "0.0"),
        (-0.0, "0.0"),
        (-0.05, "-0.1"),
        (3.26, "+3.3"),
    ],
)
def test_a_bound_near_zero_keeps_its_side(points: float, text: str) -> None:
    assert signed_points(points) == text


def told(*others: Outcomes, blind: float = 0.5) -> str:
    judged = verdict(DENSE, [cell("stride", blind)], 0.4)
    best = best_tested(compare_to_reference(REFERENCE, others), ())
    return best_sentence(SETTING, judged, best)


def test_headline_of_a_clear_win_a_clear_loss_and_a_tie() -> None:
    win = told(cell("tome", 0.50), cell("pool", 0.30))
    place = "On 1,000 test images of fashion-clutter (vim_nano) with 40 % of FLOPs removed, "
    assert f"{place}mtr keeps" in win
    assert "points of top-1 more than the best of the others, tome" in win
    loss = told(cell("tome", 0.75))
    assert "mtr keeps" in loss
    assert "less than tome" in loss
    tie = told(cell("tome", 0.621))
    assert "mtr and the best of the others, tome, cannot be told apart" in tie


def test_headline_always_gives_the_interval_and_what_could_be_shown() -> None:
    for sentence in (told(cell("tome", 0.50)), told(cell("tome", 0.75)), told(cell("tome", 0.62))):
        assert "(95 % interval " in sentence
        assert ", Holm-corrected for 1 comparison; 61.8 % against " in sentence
        assert "With 1,000 images, a difference below " in sentence
        assert sentence.index("interval") < sentence.index("p ")
        assert "dense 85.0 %" in sentence


def test_headline_interval_is_reference_minus_method() -> None:
    row = compare_to_reference(REFERENCE, [cell("tome", 0.50)])[0]
    assert row.difference_high < 0
    assert (
        f"interval {-100 * row.difference_high:+.1f} to {-100 * row.difference_low:+.1f}"
        in told(cell("tome", 0.50))
    )


def test_headline_says_first_that_the_data_cannot_rank() -> None:
    sentence = told(cell("tome", 0.50), blind=0.849)
    assert sentence.startswith("At 40 % of FLOPs removed this data cannot rank the methods")
    assert "mtr keeps" in sentence


def test_headline_of_few_seeds_speaks_of_a_range_and_of_nothing_comparable_says_so() -> None:
    sentence = told(cell("random", 0.5, seeds=3))
    figures = re.search(r"\((\S+) to (\S+) over the 95 % intervals of the seeds, ", sentence)
    assert figures
    assert 0 < float(figures[1]) < float(figures[2])
    assert "No other method was run at the same FLOPs" in told(cell("tome", 0.5, removed=0.3))


def test_only_of_seeds_the_headline_says_that_not_all_agree() -> None:
    row = replace(
        compare_to_reference(REFERENCE, [cell("tome", 0.5)])[0],
        p_holm=0.01,
        difference_low=-0.2,
        difference_high=0.01,
    )
    judged = verdict(DENSE, [cell("stride", 0.5)], 0.4)
    general = best_sentence(SETTING, judged, row)
    assert "tome, cannot be told apart for seeds in general: mtr minus tome is +" in general
    every = pair_sentence(SETTING, replace(row, kind="range"))
    assert "mtr and tome cannot be told apart seed by seed: mtr minus tome is +" in every
    for sentence in (general, every):
        # No end beyond zero stands beside the word for a difference.
        assert "differ:" not in sentence
        assert "differ," not in sentence
        assert "-1.0 to +20.0" in sentence
        assert "p = 0.010 for these seeds together" in sentence
    assert "together" not in told(cell("tome", 0.50))


def test_a_difference_has_a_sign_and_agreement_is_no_difference() -> None:
    behind = told(cell("tome", 0.625))
    assert "cannot be told apart: mtr minus tome is -" in behind
    same = told(replace(REFERENCE, label="tome"))
    assert "mtr and the best of the others, tome, are right on the same of all 1,000 images" in same


def test_the_sentence_itself_says_videos_and_which_weights_are_made_up() -> None:
    same, other = replace(REFERENCE, label="tome"), cell("tome", 0.5)
    setting = replace(SETTING, made_up=["head (random)"], kind="videos")
    judged = verdict(replace(DENSE, kind="videos"), [cell("stride", 0.84)], 0.4)
    rows = [compare_to_reference(REFERENCE, [each])[0] for each in (same, other)]
    first = best_sentence(setting, judged, rows[0])
    assert re.search(r"with 1,000 videos, a loss below \d+\.\d points is easily missed", first)
    assert "videos of fashion-clutter (vim_nano, made up in part: head (random)) with" in first
    assert "are right on the same of all 1,000 videos" in first
    assert "With 1,000 videos, a difference below" in first
    assert pair_sentence(setting, rows[1]).startswith(
        "On vim_nano, made up in part: head (random), 1,000 test videos, with 40 % removed, mtr keeps"
    )


def test_a_handful_of_images_can_find_nothing() -> None:
    few = [cell(label, share, n=3) for label, share in (("tome", 0.5), ("mtr", 0.62))]
    judged = verdict(cell("none", 0.85, n=3, removed=0.0), [], 0.4)
    sentence = best_sentence(SETTING, judged, compare_to_reference(few[1], few[:1])[0])
    assert "3 images are too few to find any difference." in sentence


@pytest.mark.parametrize(("images", "words"), [(1, "1 image is"), (3, "3 images are")])
def test_a_handful_of_images_cannot_rank(images: int, words: str) -> None:
    judged = verdict(cell("none", 0.85, n=images), [cell("stride", 0.2, n=images)], 0.4)
    assert judged.can_rank is False
    assert judged.text == (
        "At 40 % of FLOPs removed this data cannot rank the methods: "
        f"{words} too few to find any difference."
    )

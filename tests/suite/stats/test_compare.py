"""The significance table, the verdict and the headline."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.stats import (
    Outcomes,
    Setting,
    compare,
    compare_to_reference,
    headline,
    mcnemar,
    sign_flip,
    verdict,
)


def cell(
    label: str,
    share: float,
    *,
    n: int = 1000,
    seeds: int = 1,
    reduction: float = 0.4,
    seed: int = 0,
) -> Outcomes:
    """About `share` of the images right, the easy ones first, with a little noise of its own."""
    easy = (np.arange(n) * 0.618034) % 1
    noise = np.random.default_rng((len(label), seed)).normal(0, 0.05, (seeds, n))
    return Outcomes(label, easy + noise < share, np.arange(n), reduction)


REFERENCE = cell("mtr", 0.62)
DENSE = cell("none", 0.85, reduction=0.0)
SETTING = Setting("vim_nano", "fashion-clutter", 0.4, 0.85)


def test_outcomes_refuse_what_is_no_outcome() -> None:
    good = np.ones((1, 3), dtype=bool)
    for correct, images in (
        (good[0], np.arange(3)),
        (good.astype(int), np.arange(3)),
        (good, np.arange(4)),
        (good, np.array([0, 1, 1])),
        (good[:, :0], np.arange(0)),
    ):
        with pytest.raises(ValueError, match="mtr"):
            Outcomes("mtr", correct, images)


def test_accuracy_is_the_mean_over_seeds() -> None:
    outcomes = Outcomes(
        "random", np.array([[True, True], [True, False], [False, False]]), np.arange(2)
    )
    assert outcomes.accuracy == 0.5
    assert (outcomes.seeds, outcomes.count) == (3, 2)


def test_row_by_hand() -> None:
    one = Outcomes("tome", np.array([[True, True, False, False, True]]), np.arange(5), 0.4)
    two = Outcomes("mtr", np.array([[True, False, True, True, True]]), np.arange(5), 0.4)
    row = compare(one, two)
    assert (row.only_method_correct, row.only_reference_correct, row.images) == (1, 2, 5)
    assert row.difference == pytest.approx(-0.2)
    assert (row.test, row.p, row.p_holm) == ("mcnemar", 1.0, None)
    assert row.difference_low <= row.difference <= row.difference_high


def test_images_are_paired_by_index_not_by_place() -> None:
    shuffle = np.random.default_rng(0).permutation(1000)
    other = cell("tome", 0.55)
    mixed = Outcomes("tome", other.correct[:, shuffle], other.images[shuffle], other.reduction)
    assert compare(mixed, REFERENCE) == compare(other, REFERENCE)


def test_other_images_cannot_be_paired() -> None:
    other = Outcomes("tome", REFERENCE.correct, REFERENCE.images + 1, 0.4)
    with pytest.raises(ValueError, match="same images"):
        compare(other, REFERENCE)


def test_only_equal_work_is_tested() -> None:
    near, far = cell("tome", 0.55, reduction=0.4049), cell("pool", 0.55, reduction=0.4051)
    rows = {row.label: row for row in compare_to_reference(REFERENCE, [near, far, REFERENCE])}
    assert set(rows) == {"tome", "pool"}
    assert rows["tome"].p is not None
    assert rows["tome"].p_holm == rows["tome"].p, "a family of one needs no correction"
    assert rows["pool"].p is None
    assert rows["pool"].p_holm is None
    assert rows["pool"].difference_low < rows["pool"].difference_high


def test_the_right_test_and_holm_over_the_family() -> None:
    others = [cell("tome", 0.60), cell("stride", 0.45), cell("random", 0.5, seeds=3)]
    rows = compare_to_reference(REFERENCE, others)
    assert [row.test for row in rows] == ["mcnemar", "mcnemar", "sign-flip"]
    assert [row.kind for row in rows] == ["interval", "interval", "range"]
    assert rows[0].p == mcnemar(others[0].correct[0], REFERENCE.correct[0]).p
    assert rows[2].p == sign_flip(others[2].correct, REFERENCE.correct)
    ranked = sorted(row.p for row in rows if row.p is not None)
    assert sorted(row.p_holm for row in rows if row.p_holm is not None)[0] == pytest.approx(
        3 * ranked[0]
    )
    assert all(row.p_holm is not None and row.p is not None and row.p_holm >= row.p for row in rows)


@pytest.mark.parametrize(
    ("p_holm", "difference_low", "difference_high", "told"),
    [(0.01, 0.02, 0.1, True), (0.01, -0.1, -0.02, True), (0.01, 0.0, 0.1, False), (0.01, -0.01, 0.1, False),
     (0.05, 0.02, 0.1, False), (None, 0.02, 0.1, None)],
)  # fmt: skip
def test_significant_takes_the_corrected_test_and_an_interval_without_zero(
    p_holm: float | None, difference_low: float, difference_high: float, told: bool | None
) -> None:
    row = replace(
        compare(cell("tome", 0.5), REFERENCE),
        p_holm=p_holm,
        difference_low=difference_low,
        difference_high=difference_high,
    )
    assert row.significant is told


def test_only_of_seeds_the_headline_says_that_not_all_agree() -> None:
    row = replace(
        compare_to_reference(REFERENCE, [cell("tome", 0.5)])[0],
        p_holm=0.01,
        difference_low=-0.2,
        difference_high=0.01,
    )
    judged = verdict(DENSE, [cell("stride", 0.5)], 0.4)
    assert "cannot be told apart" in headline(SETTING, judged, [row])
    assert "though not for every seed" in headline(SETTING, judged, [replace(row, kind="range")])


@given(st.floats(0.3, 0.9), st.floats(0.3, 0.9), st.integers(1, 3), st.integers(0, 5))
def test_rows_are_antisymmetric(one: float, two: float, seeds: int, seed: int) -> None:
    first, second = cell("a", one, n=200, seeds=seeds, seed=seed), cell("bb", two, n=200, seed=seed)
    there, back = compare(first, second), compare(second, first)
    assert there.difference == pytest.approx(-back.difference)
    assert (there.only_method_correct, there.only_reference_correct) == (
        back.only_reference_correct,
        back.only_method_correct,
    )
    assert there.p == pytest.approx(back.p)
    assert there.smallest == back.smallest


def test_record_is_plain() -> None:
    record = compare(cell("tome", 0.5), REFERENCE).record()
    assert all(value is None or type(value) in (str, int, float) for value in record.values())


def test_verdict_that_says_no() -> None:
    harmless = Outcomes("stride", DENSE.correct.copy(), DENSE.images, 0.4)
    harmless.correct[0, :3] = False
    found = verdict(DENSE, [cell("random", 0.5, seeds=3), harmless], 0.4)
    assert found.can_rank is False
    assert found.baseline == "stride"
    assert found.loss == pytest.approx(DENSE.accuracy - harmless.accuracy)
    assert found.text.startswith(
        "At 40 % of FLOPs removed this data cannot rank the methods: stride loses 0.3 points"
    )
    assert "1,000 images" in found.text


def test_verdict_that_says_yes_and_one_that_cannot_say() -> None:
    found = verdict(DENSE, [cell("random", 0.5, seeds=3), cell("stride", 0.6)], 0.4)
    assert found.can_rank is True
    assert found.baseline == "stride"
    assert found.smallest is not None
    assert 0 < found.smallest < 0.1
    unknown = verdict(DENSE, [], 0.4)
    assert unknown.can_rank is None
    assert "No blind baseline (random, stride, pool)" in unknown.text


def test_a_blind_method_that_gains_cannot_rank_either() -> None:
    found = verdict(DENSE, [cell("stride", 0.87)], 0.2)
    assert found.can_rank is False
    assert "gains" in found.text


def told(*others: Outcomes, blind: float = 0.5) -> str:
    judged = verdict(DENSE, [cell("stride", blind)], 0.4)
    return headline(SETTING, judged, compare_to_reference(REFERENCE, others))


def test_headline_of_a_clear_win_a_clear_loss_and_a_tie() -> None:
    win = told(cell("tome", 0.50), cell("pool", 0.30))
    assert "On fashion-clutter (vim_nano) with 40 % of FLOPs removed, mtr keeps" in win
    assert "points of top-1 more than the best other method, tome" in win
    loss = told(cell("tome", 0.75))
    assert "mtr keeps" in loss
    assert "less than tome" in loss
    tie = told(cell("tome", 0.621))
    assert "mtr and the best other method, tome, cannot be told apart" in tie


def test_headline_always_gives_the_interval_and_what_could_be_shown() -> None:
    for sentence in (told(cell("tome", 0.50)), told(cell("tome", 0.75)), told(cell("tome", 0.62))):
        assert "95 % interval of the difference" in sentence
        assert "1,000 images find a true difference of" in sentence
        assert sentence.index("interval") < sentence.index("p ")
        assert "dense 85.0 %" in sentence


def test_headline_interval_is_reference_minus_method() -> None:
    row = compare_to_reference(REFERENCE, [cell("tome", 0.50)])[0]
    assert row.difference_high < 0
    assert (
        f"difference {-100 * row.difference_high:+.1f} to {-100 * row.difference_low:+.1f}"
        in told(cell("tome", 0.50))
    )


def test_headline_says_first_that_the_data_cannot_rank() -> None:
    sentence = told(cell("tome", 0.50), blind=0.849)
    assert sentence.startswith("At 40 % of FLOPs removed this data cannot rank the methods")
    assert "mtr keeps" in sentence


def test_headline_of_few_seeds_speaks_of_a_range_and_of_nothing_comparable_says_so() -> None:
    sentence = told(cell("random", 0.5, seeds=3))
    figures = re.search(
        r"\(difference (\S+) to (\S+) over the 95 % intervals of the seeds, ", sentence
    )
    assert figures
    assert 0 < float(figures[1]) < float(figures[2])
    assert "No other method was run at the same FLOPs" in told(cell("tome", 0.5, reduction=0.3))

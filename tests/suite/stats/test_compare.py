"""The significance table and the verdict."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.stats.compare import compare, compare_to_reference
from suite.stats.correctness import Outcomes
from suite.stats.hits import Hits
from suite.stats.paired import sign_flip
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
            Hits("mtr", correct, images)


def test_accuracy_is_the_mean_over_seeds() -> None:
    outcomes = Hits("random", np.array([[True, True], [True, False], [False, False]]), np.arange(2))
    assert outcomes.accuracy == 0.5
    assert (outcomes.seeds, outcomes.count) == (3, 2)


def test_row_by_hand() -> None:
    one = Hits("tome", np.array([[True, True, False, False, True]]), np.arange(5), 0.4)
    two = Hits("mtr", np.array([[True, False, True, True, True]]), np.arange(5), 0.4)
    row = compare(one, two)
    assert (row.only_method_correct, row.only_reference_correct, row.images) == (1, 2, 5)
    assert row.difference == pytest.approx(-0.2)
    assert (row.p, row.p_holm) == (1.0, None)
    assert row.difference_low <= row.difference <= row.difference_high


def test_images_are_paired_by_index_not_by_place() -> None:
    shuffle = np.random.default_rng(0).permutation(1000)
    other = cell("tome", 0.55)
    mixed = Hits("tome", other.correct[:, shuffle], other.images[shuffle], other.removed)
    assert compare(mixed, REFERENCE) == compare(other, REFERENCE)


def test_other_images_cannot_be_paired() -> None:
    other = Hits("tome", REFERENCE.correct, REFERENCE.images + 1, 0.4)
    with pytest.raises(ValueError, match="same images"):
        compare(other, REFERENCE)


def test_only_equal_work_is_tested() -> None:
    near, far = cell("tome", 0.55, removed=0.4049), cell("pool", 0.55, removed=0.4051)
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
    assert [row.kind for row in rows] == ["interval", "interval", "range"]
    assert [row.p for row in rows] == [sign_flip(o.correct, REFERENCE.correct) for o in others]
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
    record = asdict(compare(cell("tome", 0.5), REFERENCE))
    assert all(value is None or type(value) in (str, int, float) for value in record.values())


def test_verdict_that_says_no() -> None:
    harmless = Hits("stride", DENSE.correct.copy(), DENSE.images, 0.4)
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
    assert "No blind baseline (random, stride, pool; on maps" in unknown.text


def test_a_blind_method_that_gains_cannot_rank_either() -> None:
    found = verdict(DENSE, [cell("stride", 0.87)], 0.2)
    assert found.can_rank is False
    assert "gains" in found.text


def of_counts(label: str, favour: int, against: int, images: int) -> tuple[Outcomes, Outcomes]:
    """A method alone right on `favour` images, the reference alone on `against`."""
    method, reference = np.zeros((2, 1, images), dtype=bool)
    method[0, :favour] = True
    reference[0, favour : favour + against] = True
    numbers = np.arange(images)
    return Hits(label, method, numbers, 0.4), Hits("mtr", reference, numbers, 0.4)


@given(
    st.lists(st.tuples(st.integers(0, 14), st.integers(0, 14)), min_size=1, max_size=6),
    st.sampled_from([30, 200]),
)
def test_interval_and_corrected_test_never_contradict_each_other(
    counts: list[tuple[int, int]], images: int
) -> None:
    reference = Hits("mtr", np.zeros((1, images), dtype=bool), np.arange(images), 0.4)
    # one family against a reference that is wrong everywhere, and each pair as its own family
    family = [of_counts(f"m{i}", favour, 0, images)[0] for i, (favour, _) in enumerate(counts)]
    tables = [compare_to_reference(reference, family)]
    for i, pair in enumerate(counts):
        method, own = of_counts(f"m{i}", *pair, images)
        tables.append(compare_to_reference(own, [method]))
    for row in [row for table in tables for row in table]:
        assert row.p_holm is not None
        excludes = not row.difference_low <= 0 <= row.difference_high
        assert excludes == (row.p_holm < 0.05) == row.significant
        assert row.difference_low <= row.difference <= row.difference_high


def test_the_interval_is_as_wide_as_its_family_is_large() -> None:
    method, reference = of_counts("tome", 30, 10, 200)
    others = [of_counts(f"m{i}", 12, 9, 200)[0] for i in range(8)]
    alone = compare_to_reference(reference, [method])[0]
    among = compare_to_reference(reference, [method, *others])[0]
    assert (alone.comparisons, among.comparisons) == (1, 9)
    assert alone.p == among.p
    width = [row.difference_high - row.difference_low for row in (alone, among)]
    # normal intervals at 5 % and 5 % / 9: 1.96 and 2.77 standard errors
    assert width[1] / width[0] == pytest.approx(2.77 / 1.96, rel=0.1)


def test_an_interval_reaches_zero_where_the_test_does_not_reject() -> None:
    # 5 of 5 discordant images: McNemar's p is 0.0625, yet no resampled difference is below zero.
    method, reference = of_counts("tome", 5, 0, 100)
    row = compare_to_reference(reference, [method])[0]
    assert row.p == 0.0625
    assert row.difference_low == 0 < row.difference_high
    assert row.significant is False


def test_thousands_of_images_in_favour_of_one_method_are_a_difference() -> None:
    # 2^-2999 is below the smallest number
    method, reference = of_counts("tome", 3000, 0, 4000)
    row = compare_to_reference(reference, [method])[0]
    assert row.p is not None
    assert 0 < row.p < 1e-300
    assert row.significant
    assert row.difference_low > 0.7

"""Which methods a baseline that never looks at the image does as well as."""

import json
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from scipy.stats import binomtest

from suite.stats.blind_baselines import (
    AtSetting,
    BlindComparison,
    LeadOverBaseline,
    beaten_words,
    blind_table,
    compare_to_blind,
    in_order,
    read_blind_table,
)
from suite.stats.compare import SAME_WORK
from suite.stats.hits import Hits
from suite.tries.settings import Setting

RATIO, STAGED = Setting("constant-ratio", 0), Setting("staged", 4)


def cell(
    label: str, *seeds: np.ndarray, removed: float = 0.4, setting: Setting = RATIO
) -> AtSetting:
    correct = np.stack(seeds)
    outcomes = Hits(label, correct, np.arange(correct.shape[1]), removed)
    return AtSetting(label, setting, outcomes)


def first(share: float, images: int = 100) -> np.ndarray:
    return np.arange(images) < round(share * images)


@pytest.mark.parametrize(
    ("gained", "lost"),
    [(0, 0), (4, 0), (6, 0), (9, 3), (13, 3), (30, 18), (34, 18), (3, 9), (5, 0)],
)
def test_ahead_is_what_mcnemar_tells_apart(gained: int, lost: int) -> None:
    stride = np.arange(400) < 200
    method = stride.copy()
    method[:lost], method[200 : 200 + gained] = False, True
    mark = compare_to_blind("b", 0.4, [cell("stride", stride)], [cell("mtr", method)])
    assert mark is not None
    (lead,) = mark.leads
    p = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert lead.p == pytest.approx(p)
    assert lead.difference == pytest.approx((gained - lost) / 400)
    assert lead.difference_low <= lead.difference <= lead.difference_high
    assert lead.shown == (p < 0.05 and gained > lost)
    assert (lead.difference_low <= 0 <= lead.difference_high) == (p >= 0.05)
    assert mark.none_shown == (mark.not_shown == ("mtr",)) == (not lead.shown)


def test_methods_as_good_as_all_baselines_are_seldom_shown_to_be_better() -> None:
    rng = np.random.default_rng(0)
    shown = 0
    for _ in range(200):
        hard = rng.random(300)
        right = [hard < 0.5 + 0.2 * rng.standard_normal(300) for _ in range(4)]
        blind = [
            cell(name, hits)
            for name, hits in zip(("random", "stride", "pool"), right[:3], strict=True)
        ]
        mark = compare_to_blind("b", 0.4, blind, [cell("mtr", right[3])])
        assert mark is not None
        shown += mark.leads[0].shown
    assert shown <= 10  # 2.5 % would be 5 for a single baseline, and three are asked for


def test_a_method_must_be_ahead_of_every_blind_baseline() -> None:
    stride, pool = first(0.5), ~first(0.5)  # each as good, on other images
    method = first(0.65)
    mark = compare_to_blind(
        "b", 0.4, [cell("stride", stride), cell("pool", pool)], [cell("mtr", method)]
    )
    assert mark is not None
    assert mark.baseline == "stride"
    assert mark.leads[0].p < 0.001
    assert mark.not_shown == (
        "mtr",
    )  # 65 of 100 beside pool: 50 of the images speak for it, 35 against


@pytest.mark.parametrize(
    ("blind", "shown"),
    [
        # under the method's setting it is beaten, under its own best it is not
        ({RATIO: 0.4, STAGED: 0.7}, False),
        # the other way round: at its best it is far behind the method, which is not at its best
        ({RATIO: 0.7, STAGED: 0.4}, False),
        ({RATIO: 0.4, STAGED: 0.45}, True),
        # a setting that is neither the method's nor the best asks nothing
        ({RATIO: 0.4, Setting("rising", 0): 0.5, STAGED: 0.45}, True),
        ({Setting("rising", 0): 0.4, STAGED: 0.45}, True),
        ({Setting("rising", 0): 0.4, STAGED: 0.7}, False),
    ],
)
def test_a_blind_baseline_is_to_be_beaten_under_the_methods_setting_and_under_its_best(
    blind: dict[Setting, float], shown: bool
) -> None:
    cells = [cell("random", first(share), setting=setting) for setting, share in blind.items()]
    cells.append(cell("stride", first(0.3), setting=STAGED))
    mark = compare_to_blind("b", 0.4, cells, [cell("mtr", first(0.7))])
    assert mark is not None
    assert mark.leads[0].shown == shown
    best = max(blind, key=lambda setting: blind[setting])
    assert (mark.baseline, mark.setting, mark.top1) == ("random", best, pytest.approx(blind[best]))


def test_of_equal_baselines_every_order_of_a_run_names_the_same() -> None:
    cells = [
        cell(name, first(0.5), setting=setting)
        for name in ("pool", "random", "stride")
        for setting in (STAGED, RATIO)
    ]
    for order in permutations(cells, len(cells)):
        assert [(one.method, one.setting) for one in in_order(order)] == [
            (name, setting) for name in ("random", "stride", "pool") for setting in (RATIO, STAGED)
        ]


def test_all_settings_of_a_baseline_that_are_best_are_to_be_beaten() -> None:
    even = np.arange(100) % 2 == 0
    method = cell("mtr", even | (np.arange(100) < 12))  # right where `even` is, and on six more
    staged, rising = (
        cell("stride", right, setting=Setting(name, 0))
        for name, right in (("staged", even), ("rising", ~even))
    )
    found = []
    for blind in ([staged], [staged, rising], [rising, staged]):
        mark = compare_to_blind("b", 0.4, blind, [method])
        assert mark is not None
        found.append(mark.leads[0].shown)
    assert found == [True, False, False]


@pytest.mark.parametrize("other", ["stride", "pool"])
def test_the_best_blind_baseline_is_the_mean_of_its_seeds(other: str) -> None:
    half, most, all_ = first(0.5), first(0.7), first(1.0)
    best = compare_to_blind(
        "b", 0.4, [cell("random", half, half), cell(other, most)], [cell("mtr", most)]
    )
    assert best is not None
    assert (best.baseline, best.top1, best.not_shown) == (other, pytest.approx(0.7), ("mtr",))
    found = compare_to_blind(
        "b",
        0.4,
        [cell("random", half, most), cell(other, half)],
        [cell("mtr", all_), cell("tome", most)],
    )
    assert found is not None
    assert (found.baseline, found.top1) == ("random", pytest.approx(0.6))
    assert found.not_shown == ("tome",)  # no better than one of the two seeds


def test_only_cells_of_the_same_work_are_held_against_each_other() -> None:
    half, most = first(0.5), first(0.8)
    random, stride = cell("random", half, removed=0.38), cell("stride", first(0.4), removed=0.4)
    assert compare_to_blind("b", 0.4, [random, stride], [cell("mtr", most, removed=0.4)]) is None
    near = cell("tome", most, removed=0.38 + 0.9 * SAME_WORK)
    mark = compare_to_blind("b", 0.4, [random, stride], [cell("mtr", most, removed=0.4), near])
    assert mark is not None
    assert [lead.label for lead in mark.leads] == ["tome"]


def coarse(label: str, share: float, removed: float) -> AtSetting:
    """A cell of a method that keeps a map, so that it may miss the budget."""
    found = cell(label, first(share), removed=removed)
    return replace(found, outcomes=replace(found.outcomes, coarse=True))


def test_a_coarse_cell_of_the_work_of_no_method_is_left_out() -> None:
    blind = [coarse("grid-pool", 0.5, 0.37), coarse("grid-resize", 0.4, 0.4)]
    mark = compare_to_blind("b", 0.4, blind, [coarse("storm", 0.8, 0.401)])
    assert mark is not None
    assert (mark.baseline, mark.leads[0].shown) == ("grid-resize", True)


def test_a_better_coarse_cell_takes_no_verdict_from_the_methods_of_the_budget() -> None:
    blind = [cell("random", first(0.5), removed=0.4), coarse("grid-pool", 0.7, 0.387)]
    methods = [cell("mtr", first(0.9), removed=0.4), cell("tome", first(0.5), removed=0.401)]
    mark = compare_to_blind("b", 0.4, blind, [*methods, coarse("storm", 0.8, 0.387)])
    assert mark is not None
    assert mark.baseline == "random"
    assert {lead.label: lead.shown for lead in mark.leads} == {"mtr": True, "tome": False}


def test_without_a_blind_baseline_or_a_method_there_is_nothing_to_say() -> None:
    assert compare_to_blind("b", 0.4, [], [cell("mtr", first(0.5))]) is None
    assert compare_to_blind("b", 0.4, [cell("stride", first(0.5))], []) is None


def test_one_image_is_finite_and_shows_nothing() -> None:
    mark = compare_to_blind("b", 0.4, [cell("stride", first(0.0, 1))], [cell("mtr", first(1.0, 1))])
    assert mark is not None
    assert mark.none_shown
    json.dumps(mark.record(), allow_nan=False)


def test_marks_come_back_from_their_table_without_what_is_not_known() -> None:
    leads = (
        LeadOverBaseline("mtr", 0.1, 0.05, 0.15, 0.01, True),
        LeadOverBaseline("tome", 0.0, -0.1, 0.1, 1.0, False),
    )
    marks = [
        BlindComparison("b", 0.2, "stride", 0.5, leads, STAGED),
        BlindComparison("c", 0.4, "pool", 0.25, leads[1:]),
    ]
    frame = blind_table(marks)
    assert read_blind_table(frame, ("mtr", "tome")) == {("b", 0.2): marks[0], ("c", 0.4): marks[1]}
    assert read_blind_table(frame, ("mtr",)) == {
        ("b", 0.2): BlindComparison("b", 0.2, "stride", 0.5, leads[:1], STAGED)
    }
    assert read_blind_table(blind_table([]), ("mtr",)) == {}


def test_which_methods_beat_the_blind_baselines_is_said_outright_at_every_budget() -> None:
    behind = [LeadOverBaseline(label, 0.1, -0.1, 0.3, 0.4, False) for label in ("mtr", "tome")]
    ahead = [LeadOverBaseline(label, 0.1, 0.05, 0.15, 0.01, True) for label in ("mtr", "tome")]
    found = [
        BlindComparison("b", 0.2, "stride", 0.756, tuple(behind), STAGED),
        BlindComparison("b", 0.3, "random", 0.5, (ahead[0], behind[1])),
        BlindComparison("b", 0.55, "random", 0.25, tuple(behind)),
        BlindComparison("c", 0.2, "stride", 0.5, tuple(ahead)),
    ]
    assert beaten_words(found[:3], "60 test images") == (
        "Blind baselines at their best, b, 60 test images: beaten at -20 % FLOPs by none (best: "
        "stride, staged, window 4: 75.6 %), at -30 % by mtr, at -55 % by none (best: random: 25.0 %)."
    )
    assert beaten_words(found[3:], "1 test image") == (
        "Blind baselines at their best, c, 1 test image: beaten at -20 % FLOPs by all 2 methods."
    )
    assert beaten_words([], "60 test images") == ""
    rows = [mark.record() for mark in found]
    assert [row["none_shown_better"] for row in rows] == [True, False, True, False]
    assert rows[1]["not_shown_better"] == ["tome"]

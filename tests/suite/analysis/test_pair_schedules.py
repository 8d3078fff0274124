"""Sentences on two methods name their schedules, and call no lead a win that depends on them."""

from dataclasses import replace

import pytest

from suite.analysis.pair_schedules import Schedules, without_schedule
from suite.analysis.pair_sentences import Setting as Place
from suite.analysis.pair_sentences import best_sentence, pair_sentence
from suite.stats.compare import Comparison
from suite.stats.schedules import OrderOverSchedules, ScheduleVerdicts, State, UnderSchedule
from suite.stats.verdict import Verdict
from suite.tries.settings import Setting

NAMES = ("constant-ratio", "constant-count", "one-shot", "staged", "rising", "falling")
PLACE = Place("vim_nano", "fashion-clutter", 0.4, 0.85, split="test")
ROOM = Verdict(True, 0.05, "stride", 0.3, "")
# tome 8 points behind mtr, and shown to be
BEHIND = Comparison(
    "tome", "mtr", 500, 0.5, 0.58, -0.08, -0.12, -0.04, "interval", 10, 50, 0.05, 0.001, 0.002, 1
)
TUNED = {
    "mtr": (Setting("staged", 0), True),
    "tome": (Setting("rising", 4), True),
}


def over(method: str, other: str, states: str, budget: float = 0.4) -> Schedules:
    """A verdict with the states whose first letters are given, beside tuned settings at 40 %."""
    known: dict[str, State] = {"a": "ahead", "b": "behind", "o": "open"}
    under = [UnderSchedule(name, known[s]) for name, s in zip(NAMES, states, strict=True)]
    order = OrderOverSchedules(method, other, tuple(under))
    verdicts = ScheduleVerdicts("vim_nano", budget, "table", "dev", 1000, (order,))
    return Schedules(TUNED, verdicts)


@pytest.mark.parametrize("states", ["aaaaaa", "oooaoo", "oooooo"])
def test_a_lead_that_no_schedule_reverses_is_one(states: str) -> None:
    sentence = best_sentence(PLACE, ROOM, BEHIND, over("mtr", "tome", states))
    assert sentence.startswith(
        "On 500 test images of fashion-clutter (vim_nano) with 40 % of FLOPs removed, each at its "
        "tuned schedule (mtr staged; tome rising, window 4), mtr keeps 8.0 points of top-1 "
        "more than the best of the others, tome ("
    )


@pytest.mark.parametrize("pair", [("mtr", "tome"), ("tome", "mtr")])
def test_a_lead_that_depends_on_the_schedule_is_a_number_and_no_win(pair: tuple[str, str]) -> None:
    for sentence in (
        best_sentence(PLACE, ROOM, BEHIND, over(*pair, "aaabbo")),
        pair_sentence(PLACE, BEHIND, over(*pair, "aaabbo")),
    ):
        assert sentence.startswith(
            "Equal schedules, vim_nano at -40 % FLOPs, 1,000 dev images of the table of tries: "
            f"{pair[0]} against {pair[1]} depends on the schedule (ahead under 3 of 6 schedules; "
            "behind under 2: staged and rising; open under 1: falling). On "
        )
        assert ", mtr minus tome is +8.0 points of top-1 (" in sentence
        assert "more than" not in sentence


def test_a_lead_against_the_order_under_equal_schedules_is_no_win_either() -> None:
    sentence = best_sentence(PLACE, ROOM, BEHIND, over("tome", "mtr", "aaaoaa"))
    assert sentence.startswith(
        "Whether mtr or tome keeps more depends on their schedules. Equal schedules, vim_nano at "
        "-40 % FLOPs, 1,000 dev images of the table of tries: tome against mtr is not reversed "
        "(ahead under 5 of 6 schedules; open under 1: staged). On 500 test images"
    )
    assert "more than" not in sentence


def test_a_verdict_of_another_budget_takes_a_win_away_and_gives_none() -> None:
    depends = best_sentence(PLACE, ROOM, BEHIND, over("mtr", "tome", "aaabbo", budget=0.6))
    assert depends.startswith("Equal schedules, vim_nano at -60 % FLOPs, 1,000 dev images of the ")
    assert "mtr against tome depends on the schedule (" in depends
    assert "more than" not in depends
    holds = best_sentence(PLACE, ROOM, BEHIND, over("mtr", "tome", "aaaaaa", budget=0.6))
    assert "mtr keeps 8.0 points of top-1 more" in holds
    assert "Equal schedules" not in holds


@pytest.mark.parametrize(
    ("settings", "clause"),
    [
        ({}, ""),
        ({"mtr": (Setting("staged", 0), False), "tome": (Setting("staged", 0), False)},
         ", under schedule staged"),
        ({"mtr": (Setting("staged", 0), False), "tome": (Setting("rising", 0), False)},
         ", under their schedules (mtr staged; tome rising)"),
        ({"mtr": (Setting("staged", 0), False), "tome": (Setting("rising", 0), True)},
         ", under their schedules (mtr staged, not tuned; tome rising, tuned)"),
        ({"mtr": (Setting("staged", 0), True), "tome": (Setting("staged", 0), False)},
         ", under their schedules (mtr staged, tuned; tome staged, not tuned)"),
        ({"mtr": (Setting("staged", 0), True)}, ", each at its tuned schedule (mtr staged)"),
    ],
)  # fmt: skip
def test_the_clause_names_the_schedule_of_each(
    settings: dict[str, tuple[Setting, bool]], clause: str
) -> None:
    assert Schedules(settings).clause(BEHIND) == clause


def test_a_schedule_in_a_name_is_said_once() -> None:
    row = replace(BEHIND, label="tome@one-shot")
    settings = TUNED | {"tome@one-shot": (Setting("one-shot", 0), False)}
    clause = Schedules(settings).clause(row)
    assert clause == ", under their schedules (mtr staged, tuned; tome one-shot, not tuned)"


def test_methods_are_compared_under_their_names_without_a_schedule() -> None:
    assert without_schedule("mtr@falling") == "mtr"
    assert without_schedule("tome[order=appended]@every-2 = tome") == "tome[order=appended]"
    assert without_schedule("gate (a@b/x)") == "gate (a@b/x)"

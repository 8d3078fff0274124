"""The verdicts over schedules in words: every count is that of the table, and every sentence says on what it rests."""

import pytest

from suite.stats.schedule_words import (
    in_words,
    order_brief,
    pairs_brief,
    verdict_record,
    verdict_sentences,
)
from suite.stats.schedules import OrderOverSchedules, ScheduleVerdicts, State, UnderSchedule

NAMES = ("constant-ratio", "constant-count", "one-shot", "staged", "rising", "falling")
PLACE = "vim_nano at -40 % FLOPs, 1,000 dev images of the table of tries: "


def order(method: str, other: str, states: str, baseline: str = "") -> OrderOverSchedules:
    """A pair with the states whose first letters are given: a, b, o, and l for left out."""
    known: dict[str, State] = {"a": "ahead", "b": "behind", "o": "open", "l": "left out"}
    under = [UnderSchedule(name, known[s]) for name, s in zip(NAMES, states, strict=True)]
    return OrderOverSchedules(method, other, tuple(under), baseline)


def verdicts(*orders: OrderOverSchedules) -> ScheduleVerdicts:
    return ScheduleVerdicts("vim_nano", 0.4, "table", "dev", 1000, orders)


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ("aaaaaa", "is ahead under all 6 schedules"),
        ("bbbbbb", "is behind under all 6 schedules"),
        ("oooaoo", "is not reversed (ahead under 1 of 6 schedules: staged; open under 5)"),
        (
            "oaaaoa",
            "is not reversed (ahead under 4 of 6 schedules; open under 2: constant-ratio and rising)",
        ),
        ("ooboob", "is not reversed (behind under 2 of 6 schedules: one-shot and falling; open under 4)"),
        (
            "baaaoa",
            "depends on the schedule (ahead under 4 of 6 schedules; behind under 1: constant-ratio; "
            "open under 1: rising)",
        ),
        ("oooooo", "is not told apart under any of 6 schedules"),
        ("aaaall", "is ahead under all 4 schedules under which both meet the budget"),
        ("oollll", "is not told apart under any of 2 schedules under which both meet the budget"),
        ("lllall", "is ahead under the only schedule under which both meet the budget"),
        ("llloll", "is not told apart under the only schedule under which both meet the budget"),
        ("llllll", "has no schedule under which both meet the budget"),
    ],
)  # fmt: skip
def test_a_verdict_says_its_counts_and_no_more_than_the_rule(states: str, words: str) -> None:
    assert in_words(order("mtr", "utr", states)) == words


def test_few_pairs_are_told_each_with_budget_and_images() -> None:
    (sentence,) = verdict_sentences(
        verdicts(order("mtr", "utr", "aaabao"), order("mtr", "tome", "aaaaaa"))
    )
    assert sentence == (
        f"Equal schedules, {PLACE}mtr against utr depends on the schedule (ahead under 4 of 6 "
        "schedules; behind under 1: staged; open under 1: falling); mtr against tome is ahead under "
        "all 6 schedules."
    )


def test_many_pairs_are_counted_and_those_that_depend_are_named() -> None:
    orders = [order(f"m{i}", f"n{i}", "aaaaaa") for i in range(3)]
    orders += [order("mtr", "utr", "ababoo"), order("mtr", "delta", "oooooo")]
    orders += [order("mtr", "evit", "oooaoo"), order("mtr", "stm", "abaaaa")]
    (sentence,) = verdict_sentences(verdicts(*orders))
    assert sentence == (
        f"Equal schedules, {PLACE}of 7 pairs 3 ahead under all schedules, 2 depending on the "
        "schedule (mtr and utr, mtr and stm), 1 not told apart, 1 not reversed."
    )


def test_blind_baselines_are_told_from_the_side_of_the_method_whoever_is_ahead() -> None:
    (sentence,) = verdict_sentences(
        verdicts(
            order("mtr", "random", "aaaaal", "random"),
            order("mtr", "stride", "aabboo", "stride"),
            # the baseline is ahead, so it comes first
            order("pool", "mtr", "aaoooo", "pool"),
            order("tome", "random", "aaaaaa", "random"),
            order("tome", "stride", "aaaaaa", "stride"),
            order("tome", "pool", "aaaaaa", "pool"),
        )
    )
    assert sentence == (
        f"Blind baselines under equal schedules, {PLACE}"
        "mtr against random is ahead under all 5 schedules under which both meet the budget, against "
        "stride depends on the schedule (ahead under 2 of 6 schedules: constant-ratio and "
        "constant-count; behind under 2: one-shot and staged; open under 2: rising and falling), "
        "against pool is not reversed (behind under 2 of 6 schedules: constant-ratio and "
        "constant-count; open under 4); tome against random, stride and pool is ahead under all 6 "
        "schedules."
    )


def test_of_many_methods_those_that_fare_alike_are_named_together() -> None:
    orders = []
    for number, states in enumerate(("aaaaaa", "aaaaaa", "ooaooo", "oooooo", "abaaaa", "llllll")):
        orders.append(order(f"m{number}", "random", states, "random"))
        orders.append(order(f"m{number}", "pool", states, "pool"))
    orders.append(order("stride", "m1", "aoooll", "stride"))
    (sentence,) = verdict_sentences(verdicts(*orders))
    assert sentence.endswith(
        "ahead of each under all schedules: m0; behind one of them under some schedule: m1, m4; "
        "behind none under any schedule: m2, m3, m5."
    )


def test_plain_values_have_the_state_in_one_word_and_the_same_sentence() -> None:
    record = verdict_record(verdicts(order("mtr", "utr", "oooaoo")))
    (pair,) = record.pop("pairs")
    assert record == {
        "backbone": "vim_nano", "budget": 0.4, "source": "table", "split": "dev", "images": 1000,
    }  # fmt: skip
    assert (pair["method"], pair["verdict"]) == ("mtr", "holds")
    assert pair["sentence"] == (
        "mtr against utr is not reversed (ahead under 1 of 6 schedules: staged; open under 5)."
    )
    assert [row["state"] for row in pair["schedules"]] == ["open"] * 3 + ["ahead"] + ["open"] * 2


def test_videos_of_the_run_are_called_so() -> None:
    found = ScheduleVerdicts("v", 0.25, "run", "test", 1, (order("mtr", "utr", "aaaaaa"),))
    (sentence,) = verdict_sentences(found, "videos")
    assert sentence.startswith("Equal schedules, v at -25 % FLOPs, 1 test video: mtr")


def test_nothing_compared_is_nothing_said() -> None:
    assert verdict_sentences(verdicts()) == []


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ("aaaaaa", "mtr is ahead of tome under all 6"),
        ("bbbbbb", "tome is ahead of mtr under all 6"),
        ("aaoool", "mtr is ahead of tome under 2 of 5, behind under none"),
        (
            "aabooo",
            "mtr is ahead of tome under 2 of 6 and behind under 1: it depends on the schedule",
        ),
        ("oooooo", "mtr is not told apart from tome under any of 6"),
        ("llllll", "mtr and tome cannot be compared"),
    ],
)
def test_a_verdict_has_a_form_in_brief(states: str, words: str) -> None:
    assert order_brief(order("mtr", "tome", states)) == words


def test_many_pairs_are_counted() -> None:
    pairs = [order("a", "b", states) for states in ("aaaaaa", "ooaooo", "abbbbb", "oooooo")]
    assert pairs_brief(pairs) == (
        "of 4 pairs of methods 2 keep their order, 1 reverse it and 1 are not told apart"
    )
    assert pairs_brief(pairs[:2]) == "of 2 pairs of methods 2 keep their order"

"""The verdicts over schedules in words: every count is that of the table."""

from suite.stats.schedule_words import verdict_sentences
from suite.stats.schedules import OrderOverSchedules, ScheduleVerdicts, State, UnderSchedule

NAMES = ("constant-ratio", "constant-count", "one-shot", "staged", "rising", "falling")


def order(method: str, other: str, states: str, baseline: str = "") -> OrderOverSchedules:
    """A pair with the states whose first letters are given: a, b, o, and l for left out."""
    known: dict[str, State] = {"a": "ahead", "b": "behind", "o": "open", "l": "left out"}
    under = [UnderSchedule(name, known[s]) for name, s in zip(NAMES, states, strict=True)]
    return OrderOverSchedules(method, other, tuple(under), baseline)


def verdicts(*orders: OrderOverSchedules) -> ScheduleVerdicts:
    return ScheduleVerdicts("vim_nano", 0.4, "table", "dev", 1000, orders)


def test_few_pairs_have_a_sentence_each_and_the_first_says_where() -> None:
    first, second = verdict_sentences(
        verdicts(order("mtr", "utr", "aaabao"), order("mtr", "tome", "aaaaaa"))
    )
    assert first.startswith(
        "Over schedules on vim_nano, 40 % of FLOPs removed (1,000 dev images, from the table of "
        "tries, each with its own class-token window): whether mtr or utr keeps more depends on the "
        "schedule: mtr keeps more under 4 of 6 schedules"
    )
    assert second == "mtr keeps more than tome under 6 of 6 schedules, less under none."


def test_many_pairs_are_counted_and_those_that_depend_are_named() -> None:
    orders = [order(f"m{i}", f"n{i}", "aaaaaa") for i in range(3)]
    orders += [order("mtr", "utr", "ababoo"), order("mtr", "delta", "oooooo")]
    first, second = verdict_sentences(verdicts(*orders))
    assert "of 5 pairs of methods 3 have an order that holds, 1 one that depends" in first
    assert first.endswith("and 1 none that was shown.")
    assert second.startswith("Whether mtr or utr keeps more depends")


def test_leads_over_blind_baselines_are_a_sentence_a_method_whoever_is_ahead() -> None:
    (sentence,) = verdict_sentences(
        verdicts(
            order("mtr", "random", "aaaaal", "random"),
            order("mtr", "stride", "aabboo", "stride"),
            # the baseline is ahead, so it comes first
            order("pool", "mtr", "aaoooo", "pool"),
        )
    )
    assert sentence.endswith(
        "the lead of mtr over random holds (ahead under 5 of 5); over stride "
        "depends on the schedule (ahead under 2 of 6, behind under 2); over pool is none, pool "
        "keeps more (ahead under 0 of 6, behind under 2)."
    )


def test_nothing_compared_is_nothing_said() -> None:
    assert verdict_sentences(verdicts()) == []

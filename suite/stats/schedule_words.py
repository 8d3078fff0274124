"""What the verdicts over schedules are in words, for the terminal, the page and ``--json``.

Every sentence names backbone, budget and images, since those of a table of tries are not the run's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from suite.stats.correctness import counted
from suite.stats.schedules import (
    FAMILY,
    PAIR,
    OrderOverSchedules,
    ScheduleVerdicts,
    State,
)

FEW = 3  # pairs or methods that are named each
NAMED = 2  # schedules in brackets
REVERSED = "depending on the schedule"
STATES: tuple[State, ...] = ("ahead", "behind", "open")
RULE = (
    "Equal schedules: both methods of a pair follow the same one, each with its own class-token "
    "window. Ahead and behind are by the paired test, Holm-corrected over the schedules; the "
    "rest is open. An order that holds, or is not reversed: ahead under at least one schedule, "
    "behind under none."
)


def verdict_sentences(verdicts: ScheduleVerdicts, kind: str = "images") -> list[str]:
    """A sentence on the pairs of methods and one on the blind baselines, where there are any.

    `kind` says whether images or videos were compared.
    """
    where = place(verdicts, kind)
    sentences = []
    if verdicts.methods:
        sentences.append(f"Equal schedules, {where}: {_on_pairs(verdicts.methods)}.")
    if verdicts.blind:
        sentences.append(
            f"Blind baselines under equal schedules, {where}: {_on_blind(verdicts.blind)}."
        )
    return sentences


def on_pair(verdicts: ScheduleVerdicts, order: OrderOverSchedules, kind: str) -> str:
    """A sentence on one pair alone."""
    return f"Equal schedules, {place(verdicts, kind)}: {pair_words(order)}."


def place(verdicts: ScheduleVerdicts, kind: str) -> str:
    """Where the verdicts were found: backbone, budget, images, and what answered."""
    images = counted(verdicts.images, kind, verdicts.split)
    source = " of the table of tries" if verdicts.source == "table" else ""
    return f"{verdicts.backbone} at -{100 * verdicts.budget:.4g} % FLOPs, {images}{source}"


def pair_words(order: OrderOverSchedules) -> str:
    """The verdict on a pair, from the side of its method."""
    return f"{order.method} against {order.other} {in_words(order)}"


def in_words(order: OrderOverSchedules) -> str:
    """Under how many schedules the method is ahead, behind or neither, and what that makes it."""
    every = _schedules(order)
    if not order.tested:
        return "has no schedule under which both meet the budget"
    if order.verdict == "open":
        return f"is not told apart under {'any of ' if order.tested > 1 else ''}{every}"
    counts = {state: order.those(state) for state in STATES if order.those(state)}
    if len(counts) == 1:
        return f"is {next(iter(counts))} under {'all ' if order.tested > 1 else ''}{every}"
    parts: list[str] = []
    for state, schedules in counts.items():
        of = "" if parts else f" of {every}"
        # Of a longer list the table has the names.
        names = f": {listed(schedules)}" if len(schedules) <= NAMED else ""
        parts.append(f"{state} under {len(schedules)}{of}{names}")
    verdict = "depends on the schedule" if order.verdict == "depends" else "is not reversed"
    return f"{verdict} ({'; '.join(parts)})"


def order_brief(order: OrderOverSchedules) -> str:
    """The verdict on a pair in few words."""
    if order.those("behind") and not order.those("ahead"):
        order = order.mirrored()
    who = f"{order.method} is"
    ahead, behind = len(order.those("ahead")), len(order.those("behind"))
    if not order.tested:
        return f"{order.method} and {order.other} cannot be compared"
    if order.verdict == "open":
        return f"{who} not told apart from {order.other} under any of {order.tested}"
    if order.verdict == "depends":
        return (
            f"{who} ahead of {order.other} under {ahead} of {order.tested} and behind under "
            f"{behind}: it depends on the schedule"
        )
    if ahead == order.tested:
        return f"{who} ahead of {order.other} under all {ahead}"
    return f"{who} ahead of {order.other} under {ahead} of {order.tested}, behind under none"


def pairs_brief(pairs: Sequence[OrderOverSchedules]) -> str:
    """How many of many pairs keep their order, turn it round, or are not told apart."""
    words = {"holds": "keep their order", "depends": "reverse it", "open": "are not told apart"}
    counts = {state: sum(order.verdict == state for order in pairs) for state in words}
    parts = [f"{count} {words[state]}" for state, count in counts.items() if count]
    return f"of {len(pairs)} pairs of methods {listed(parts)}"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: one, two and three."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def verdict_record(verdicts: ScheduleVerdicts) -> dict[str, Any]:
    """The verdicts as plain values, each pair with its sentence."""
    pairs = []
    for order in verdicts.orders:
        pair = {name: getattr(order, name) for name in PAIR}
        words = {"verdict": order.verdict, "sentence": f"{pair_words(order)}."}
        pairs.append(pair | words | {"schedules": [asdict(row) for row in order.under]})
    return {name: getattr(verdicts, name) for name in FAMILY} | {"pairs": pairs}


def _schedules(order: OrderOverSchedules) -> str:
    """The schedules that were compared, and why not all of them."""
    if order.tested == len(order.under):
        return f"{order.tested} schedules"
    noun = f"{order.tested} schedules" if order.tested > 1 else "the only schedule"
    return f"{noun} under which both meet the budget"


def _on_pairs(pairs: Sequence[OrderOverSchedules]) -> str:
    """The verdict on each of few pairs, or how many have which and the names of those reversed."""
    if len(pairs) <= FEW:
        return "; ".join(map(pair_words, pairs))
    alike: dict[str, list[str]] = {}
    for order in pairs:
        alike.setdefault(_in_brief(order), []).append(f"{order.method} and {order.other}")
    counts = []
    for words, names in alike.items():
        named = f" ({', '.join(names)})" if words == REVERSED else ""
        counts.append(f"{len(names)} {words}{named}")
    return f"of {len(pairs)} pairs {', '.join(counts)}"


def _in_brief(order: OrderOverSchedules) -> str:
    """The verdict on a pair without its counts."""
    if order.verdict == "holds":
        everywhere = len(order.those("ahead")) == order.tested
        return "ahead under all schedules" if everywhere else "not reversed"
    return REVERSED if order.verdict == "depends" else "not told apart"


def _on_blind(orders: Sequence[OrderOverSchedules]) -> str:
    """How each method fares against the blind baselines; of many methods, which fare alike."""
    methods: dict[str, list[OrderOverSchedules]] = {}
    for order in orders:
        # From the side of the method, whoever is ahead.
        mine = order.mirrored() if order.method == order.baseline else order
        methods.setdefault(mine.method, []).append(mine)
    if len(methods) <= FEW:
        return "; ".join(_against_each(label, own) for label, own in methods.items())
    alike: dict[str, list[str]] = {}
    for label, own in methods.items():
        alike.setdefault(_against_all(own), []).append(label)
    return "; ".join(f"{words}: {', '.join(labels)}" for words, labels in alike.items())


def _against_all(orders: Sequence[OrderOverSchedules]) -> str:
    """How one method fares against all blind baselines together."""
    if any(order.those("behind") for order in orders):
        return "behind one of them under some schedule"
    if all(len(order.those("ahead")) == order.tested > 0 for order in orders):
        return "ahead of each under all schedules"
    return "behind none under any schedule"


def _against_each(label: str, orders: Sequence[OrderOverSchedules]) -> str:
    """One method against the blind baselines, those together against which it fares alike."""
    alike: dict[str, list[str]] = {}
    for order in orders:
        alike.setdefault(in_words(order), []).append(order.other)
    parts = [f"against {listed(names)} {words}" for words, names in alike.items()]
    return f"{label} {', '.join(parts)}"

"""What the verdicts over schedules are in words, for the terminal, the page and its headline."""

from __future__ import annotations

from collections.abc import Sequence

from suite.stats.schedules import OrderOverSchedules, ScheduleVerdicts

FEW = 3  # pairs that have a sentence each


def verdict_sentences(verdicts: ScheduleVerdicts, kind: str = "images") -> list[str]:
    """The verdicts on one backbone: on the methods, then on each method's leads over blind ones.

    `kind` says whether images or videos were compared.
    """
    sentences = [*method_sentences(verdicts), *blind_sentences(verdicts)]
    if not sentences:
        return []
    first, *others = sentences
    for word in ("Whether ", "The "):
        # Names of methods stay as they are.
        if first.startswith(word):
            first = first[0].lower() + first[1:]
    return [f"{place(verdicts, kind)}: {first}", *others]


def method_sentences(verdicts: ScheduleVerdicts) -> list[str]:
    """The verdicts on the methods: a sentence a pair, or of many pairs how many have which."""
    pairs = verdicts.methods
    return [order.sentence for order in pairs] if len(pairs) <= FEW else _counted(pairs)


def blind_sentences(verdicts: ScheduleVerdicts) -> list[str]:
    """The verdicts on the leads over blind baselines, a sentence a method."""
    blind: dict[str, list[OrderOverSchedules]] = {}
    for order in verdicts.blind:
        label = order.other if order.method == order.baseline else order.method
        blind.setdefault(label, []).append(order)
    return [_over_blind(label, orders) for label, orders in blind.items()]


def place(verdicts: ScheduleVerdicts, kind: str) -> str:
    """Where the verdicts were found: backbone, budget, images, and what answered."""
    source = "from the table of tries" if verdicts.source == "table" else "evaluated in this run"
    return (
        f"Over schedules on {verdicts.backbone}, {100 * verdicts.budget:.4g} % of FLOPs removed "
        f"({verdicts.images:,} {verdicts.split} {kind}, {source}, each with its own class-token "
        "window)"
    )


def _counted(pairs: Sequence[OrderOverSchedules]) -> list[str]:
    """How many pairs have which verdict, and the sentences of those that depend."""
    counts = {"holds": 0, "depends": 0, "open": 0}
    for order in pairs:
        counts[order.verdict] += 1
    sentence = (
        f"of {len(pairs)} pairs of methods {counts['holds']} have an order that holds, "
        f"{counts['depends']} one that depends on the schedule, and {counts['open']} none that "
        "was shown."
    )
    return [sentence, *(order.sentence for order in pairs if order.verdict == "depends")]


def _over_blind(label: str, orders: Sequence[OrderOverSchedules]) -> str:
    """Whether the lead of one method over each blind baseline holds."""
    parts = []
    for order in orders:
        ahead, behind = len(order.those("ahead")), len(order.those("behind"))
        if order.method == order.baseline:
            ahead, behind = behind, ahead
        verdict = {"holds": "holds", "depends": "depends on the schedule", "open": "is open"}
        words = verdict[order.verdict]
        if order.verdict == "holds" and order.method == order.baseline:
            words = f"is none, {order.baseline} keeps more"
        counts = f"ahead under {ahead} of {order.tested}"
        if behind:
            counts += f", behind under {behind}"
        parts.append(f"over {order.baseline} {words} ({counts})")
    return f"The lead of {label} {'; '.join(parts)}."


def in_brief(order: OrderOverSchedules) -> str:
    """The verdict on a pair beside a sentence about it."""
    ahead, behind = len(order.those("ahead")), len(order.those("behind"))
    if order.verdict == "depends":
        return (
            f"Whether {order.method} or {order.other} keeps more depends on the schedule: "
            f"{order.method} under {ahead} of {order.tested}, {order.other} under {behind}."
        )
    if order.verdict == "holds":
        return (
            f"Over schedules the order holds: {order.method} is ahead under {ahead} of "
            f"{order.tested}, behind under none."
        )
    return f"Over schedules the order is open: neither is ahead under any of {order.tested}."

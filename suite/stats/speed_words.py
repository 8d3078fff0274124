"""What a measurement of speed shows in a line, for the terminal and the page alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from suite.stats.correctness import sample_name
from suite.stats.ranking import focus

Record = Mapping[Any, Any]
ONE_ROUND = "one round"  # the verdict where nothing was repeated
REPEAT = "One round shows nothing of how times vary, so that none is shown to fall: raise --rounds."


def speed_answer(rows: Sequence[Record]) -> str:
    """The fastest method of each backbone at the largest batch, at one budget, in a line.

    `rows` are those of the table ``bench``.
    """
    names = list(dict.fromkeys(row["backbone"] for row in rows))
    words = []
    for name in names:
        where = f"{name}: " if len(names) > 1 else ""
        words.append(where + _fastest([row for row in rows if row["backbone"] == name]))
    return " ".join(words)


def _fastest(rows: Sequence[Record]) -> str:
    # A large batch is bound by arithmetic, so FLOPs saved can show as time there.
    batch = max(row["batch"] for row in rows)
    at_batch = [row for row in rows if row["batch"] == batch]
    dense = next(row for row in at_batch if row["verdict"] == "dense")
    # Only rows that differ from the dense pass in nothing but the reduction.
    reduced = [
        row
        for row in at_batch
        if row["removed"] > 0
        and (row["precision"], row["tokens"]) == (dense["precision"], dense["tokens"])
    ]
    rate = f"{dense['images_per_second']:.1f} {sample_name(dense['kind'])}s a second"
    if not reduced:
        return f"{dense['backbone']} does {rate}, dense, at batch {batch}."
    budget = focus(sorted({float(row["budget"]) for row in reduced}))
    at_budget = [row for row in reduced if row["budget"] == budget]
    best = max(at_budget, key=lambda row: row["speedup"])
    words = (
        f"{best['label']} runs {best['speedup']:.2f} times as fast as the dense model at "
        f"{100 * budget:.4g} % fewer FLOPs (batch {batch})"
    )
    if len(at_budget) > 1:
        words = words.replace(" runs ", " is the fastest: it runs ")
    # Had time gone as the FLOPs did, 1 / (1 - share removed).
    return f"{words}; by FLOPs it would be {1 / (1 - best['removed']):.2f}."


def speed_brief(rows: Sequence[Record]) -> list[str]:
    """At most two sentences: what the dense model does, and where FLOPs fall but time does not."""
    batch = max(row["batch"] for row in rows)
    dense = [row for row in rows if row["verdict"] == "dense" and row["batch"] == batch]
    rates = []
    # The last of equal keys stays: backwards, that is each backbone's first row.
    for row in {row["backbone"]: row for row in reversed(dense)}.values():
        rate = f"{row['images_per_second']:.1f} {sample_name(row['kind'])}s a second"
        rates.append(f"{row['backbone']} {rate}")
    sentences = [f"Dense, at batch {batch}: {', '.join(reversed(rates))}."]
    timings = [row for row in rows if row["removed"] > 0]
    # A gain that is not shown counts as none.
    slow = sum(row["verdict"] != "faster" for row in timings)
    if any(row["verdict"] == ONE_ROUND for row in timings):
        sentences.append(REPEAT)
    elif timings:
        sentences.append(
            f"FLOPs fall and time was not shown to in {slow} of {len(timings)} timings."
        )
    return sentences


def reduction_answer(rows: Sequence[Any]) -> str:
    """Which method spends least, and which most, of a reduced pass on the reduction itself.

    `rows` have ``method``, ``share`` and ``speedup``.
    """
    low, high = min(rows, key=lambda row: row.share), max(rows, key=lambda row: row.share)
    if low is high:
        return (
            f"{low.method} spends {100 * low.share:.1f} % of a reduced pass on the reduction, and "
            f"runs {low.speedup:.2f} times as fast as the dense model."
        )
    return (
        f"The reduction takes {100 * low.share:.1f} % ({low.method}) to {100 * high.share:.1f} % "
        f"({high.method}) of a reduced pass."
    )

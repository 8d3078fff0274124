"""Which learning rates held-out images chose, in a line, for the terminal and the page alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Record = Mapping[Any, Any]


def rates_answer(rows: Sequence[Record]) -> str:
    """Which rate each training has, and whether a wider list might hold a better one.

    `rows` are those of the table ``retraining_rates``.
    """
    picked = [row["learning_rate"] for row in rows if row["picked"]]
    rates = sorted({row["learning_rate"] for row in rows})
    counts = {rate: picked.count(rate) for rate in rates if rate in picked}
    if len(counts) == 1:
        chosen = f"{picked[0]:g} for every training"
    else:
        parts = [f"{rate:g} for {count}" for rate, count in counts.items()]
        chosen = f"{' and '.join([', '.join(parts[:-1]), parts[-1]])} of {len(picked)} trainings"
    images = int(rows[0]["held_out_images"])
    among = f"{', '.join(f'{rate:g}' for rate in rates[:-1])} and {rates[-1]:g}"
    answer = f"Of the learning rates {among}, {images:,} held-out training images chose {chosen}."
    wider = list(rates)
    # The further rate stands in the ratio of the last two.
    if rates[-1] in counts:
        wider.append(rates[-1] ** 2 / rates[-2])
        answer += f" {rates[-1]:g} is the largest: a larger one may do better."
    if rates[0] in counts:
        wider.insert(0, rates[0] ** 2 / rates[1])
        answer += f" {rates[0]:g} is the smallest: a smaller one may do better."
    if len(wider) > len(rates):
        answer += f" Try --lr {','.join(f'{rate:.2g}' for rate in wider)}."
    return answer

"""What an ablation shows in a line, for the terminal, ``--json`` and the page alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from suite.stats.schedule_words import listed

FAMILY = ["method", "budget"]
NAMED = 3  # settings that share the first place and are named each


def ablation_answers(table: pd.DataFrame, name: Callable[[str], str] = str) -> list[dict[str, Any]]:
    """Sum up the table ``ablation``, a row a backbone: its first method at its first budget.

    A row has ``backbone``, ``budget``, ``leader`` (the setting that keeps most), ``level`` (all
    that keep as much) and the ``sentence``. `name` gives a method as it is to be called.
    """
    # Permutations of all tokens, at budget 0, are not what the axes vary around.
    done = table[(table["status"] == "ok") & (table["budget"] > 0)]
    several = done["backbone"].nunique() > 1
    answers = []
    for backbone, rows in done.groupby("backbone", sort=False):
        family = rows[(rows[FAMILY] == rows[FAMILY].iloc[0]).all(axis=1)]
        # The method as it is stands in every axis, and once here.
        reference = family["is_reference"].astype(bool)
        family = pd.concat([family[reference].head(1), family[~reference]])
        if not family["is_reference"].astype(bool).any() or len(family) < 2:
            continue
        level = _level(family)
        sentence = _sentence(family, level, name)
        answers.append(
            {
                "backbone": str(backbone),
                "budget": float(family["budget"].iloc[0]),
                "leader": level[0],
                "level": level,
                "sentence": f"{backbone}: {sentence}" if several else sentence,
            }
        )
    return answers


def _level(family: pd.DataFrame) -> list[str]:
    """The settings that share the highest top-1, the method as it is under its own words."""
    top = family[family["top1"] == family["top1"].max()]
    return list(dict.fromkeys(top["setting"]))


def _sentence(family: pd.DataFrame, level: list[str], name: Callable[[str], str]) -> str:
    method, budget = family["method"].iloc[0], family["budget"].iloc[0]
    place = f"{name(str(method))} at {100 * budget:.4g} % fewer FLOPs"
    others = family[~family["is_reference"].astype(bool)]
    apart = others[others["significant"].astype("boolean").fillna(False).astype(bool)]
    axes = " or ".join(others["axis"].unique())
    more, less = apart[apart["difference"] > 0], apart[apart["difference"] < 0]
    if apart.empty:
        words = f"No setting of {axes} is told apart from {place}"
    elif more.empty:
        worst = less.loc[less["difference"].idxmin()]
        words = (
            f"No setting of {axes} keeps more than {place}; {len(less)} of {len(others)} keep "
            f"less, most so {worst['setting']}, {100 * worst['difference']:+.1f} points"
        )
    else:
        gap = 100 * more["difference"].max()
        best = more.loc[more["difference"] == more["difference"].max(), "setting"]
        keep = "keeps" if len(best) == 1 else "keep"
        words = (
            f"{listed(list(best))} {keep} {gap:.1f} points more than {place}; of {len(others)} "
            f"settings of {axes} {len(more)} keep more and {len(less)} less"
        )
    return f"{words}{_tie(level, family)}."


def _tie(level: list[str], family: pd.DataFrame) -> str:
    """That several settings share the first place; empty if one has it."""
    if len(level) < 2:
        return ""
    who = listed(level) if len(level) <= NAMED else f"{len(level)} settings"
    return f"; {who} tie for the highest top-1, {100 * family['top1'].max():.1f} %"

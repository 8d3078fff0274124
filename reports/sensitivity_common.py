"""What the sections on sensitivity share: their backbones, the names of what is ranked by, numbers as told."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pandas as pd

from reports.formatting import number, present

OVERALL = -1  # the block number of a figure over all blocks
WORDS = {
    "removal": "exact removal, by the loss",
    "removal-kl": "exact removal, by the answer",
    "zeroing": "exact zeroing",
    "estimate": "gradient × activation",
    "bound": "|gradient| × |activation|",
    "place": "place, from other images",
    "foreground": "true object",
}


def houses(frame: pd.DataFrame) -> list[str]:
    """The backbones that `frame` speaks of."""
    return sorted(str(name) for name in frame["backbone"].unique())


def named(stem: str, house: str, among: Iterable[str]) -> str:
    """File stem of a figure that is drawn once for each backbone."""
    return stem if len(list(among)) == 1 else f"{stem}-{re.sub(r'[^a-z0-9]+', '-', house.lower())}"


def of(house: str, among: Iterable[str]) -> str:
    """``vim_nano: `` before a caption where there are several backbones."""
    return f"{house}: " if len(list(among)) > 1 else ""


def ranking(name: str) -> str:
    """How a score or another ranking is called in a figure."""
    score, _, direction = name.partition(":")
    return WORDS.get(name, f"{score}, {direction} scan" if direction else score)


def told(row: Any, digits: int = 2) -> str:
    """``0.41 [0.38, 0.44]`` of a row with ``mean``, ``low`` and ``high``."""
    bounds = (
        f" [{number(row['low'], digits)}, {number(row['high'], digits)}]"
        if present(row["low"])
        else ""
    )
    return f"{number(row['mean'], digits)}{bounds}"


def one(frame: pd.DataFrame, **names: Any) -> pd.Series | None:
    """The one row of `frame` with these values, None if there is none."""
    for name, value in names.items():
        frame = frame[frame[name] == value]
    return None if frame.empty else frame.iloc[0]

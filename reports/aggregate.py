"""The rows that figures and tables draw: one for each (backbone, method text, budget), seeds put together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from reports.run import KINDS, Run
from reports.style import GROUPS, group

MEANS = (
    "top1",
    "top5",
    "loss",
    "margin",
    "agreement",
    "kl",
    "token_ratio",
    "total",
    "removed",
    *KINDS,
)
PAIRED = (
    "top1_low",
    "top1_high",
    "reference",
    "difference",
    "difference_low",
    "difference_high",
    "p",
    "p_holm",
    "significant",
    "only_method_correct",
    "only_reference_correct",
)
PLACE = ["backbone", "label", "budget"]


def backbones(run: Run) -> list[str]:
    """Backbones of the run, as the spec orders them."""
    asked = run.spec.get("backbones")
    named = [str(name) for name in asked] if isinstance(asked, list) else []
    there = list(dict.fromkeys(sorted(run.cells["backbone"])))
    return [name for name in named if name in there] + [name for name in there if name not in named]


def labels(run: Run) -> list[str]:
    """Method texts of the run: the dense model first, then by group, then as the spec orders them."""
    asked = run.spec.get("methods")
    spec = [str(text) for text in asked] if isinstance(asked, list) else []
    known = run.cells.drop_duplicates("label")

    def rank(row: pd.Series) -> tuple[bool, int, int, str]:
        texts = (row["spec"], row["label"], row["method"])
        place = next((spec.index(text) for text in texts if text in spec), len(spec))
        return row["method"] != "none", GROUPS.index(group(row["label"])), place, row["label"]

    return [row["label"] for row in sorted((row for _, row in known.iterrows()), key=rank)]


def budgets(run: Run) -> list[float]:
    """The budgets that any cell asked for, ascending."""
    return sorted(run.cells["budget"].dropna().unique().tolist())


def focus(available: list[float]) -> float:
    """The budget that a figure with room for one shows: 40 % if there, else the middle one."""
    return 0.4 if 0.4 in available else available[len(available) // 2]


def points(run: Run) -> pd.DataFrame:
    """Finished cells, seeds averaged, with the range over seeds and the paired statistics where there are any."""
    done = run.cells[(run.cells["status"] == "ok") & run.cells["top1"].notna()]
    groups = done.groupby(PLACE, dropna=False, sort=False)
    frame = groups[[*MEANS, "images"]].mean().reset_index()
    first = groups[["method", "title", "family", "stochastic"]].first().reset_index()
    spread = groups["top1"].agg(seed_low="min", seed_high="max", seeds="count").reset_index()
    speed = groups["images_per_second"].mean().reset_index()
    for other in (first, spread, speed):
        frame = frame.merge(other, on=PLACE, how="left")
    frame = frame.merge(_paired(run), on=PLACE, how="left")
    told = frame["significant"]
    frame["significant"] = told.where(told.notna(), None)  # where the statistics have no row
    order = {label: index for index, label in enumerate(labels(run))}
    houses = {name: index for index, name in enumerate(backbones(run))}
    frame["_label"], frame["_house"] = frame["label"].map(order), frame["backbone"].map(houses)
    frame = frame.sort_values(["_house", "budget", "_label"], na_position="first", kind="stable")
    return frame.drop(columns=["_label", "_house"]).reset_index(drop=True)


def few_seeds(frame: pd.DataFrame) -> bool:
    """Whether any difference in `frame` has an envelope over seeds in place of an interval: two to four seeds."""
    return bool(frame["seeds"].between(2, 4).any() and frame["difference_low"].notna().any())


def _paired(run: Run) -> pd.DataFrame:
    frame = run.statistics[[*PLACE, *PAIRED]].drop_duplicates(PLACE)
    objects = ("backbone", "label", "reference", "significant")
    return frame.astype({name: object if name in objects else "float64" for name in frame.columns})


def unfinished(run: Run) -> pd.DataFrame:
    """Cells that were skipped or failed, failures first, each with its reason."""
    rows = run.cells[run.cells["status"] != "ok"]
    return rows.sort_values(
        ["status", "backbone", "label", "budget", "seed"], kind="stable"
    ).reset_index(drop=True)


def averaged(frame: pd.DataFrame, by: list[str], value: str) -> pd.DataFrame:
    """Mean of `value` over seeds for each place of `by`."""
    return frame.groupby(by, dropna=False, sort=True)[value].mean().reset_index()


def by_block(run: Run) -> pd.DataFrame:
    """Foreground kept, tokens kept and their ratio (`lift`) by block, averaged over seeds."""
    keys = [*PLACE, "block"]
    frame = (
        run.foreground.groupby(keys, sort=True)[["foreground_kept", "kept"]].mean().reset_index()
    )
    kept = frame["kept"].to_numpy(dtype=float)
    frame["lift"] = np.divide(
        frame["foreground_kept"], kept, out=np.full(len(kept), np.nan), where=kept > 0
    )
    return frame


def chosen_blocks(blocks: list[int], count: int = 7) -> list[int]:
    """At most `count` of `blocks`, evenly spread, the last always among them and the untouched first left out."""
    later = sorted(blocks)[1:] or sorted(blocks)
    places = np.linspace(len(later) - 1, 0, min(count, len(later)))[::-1]
    return [later[round(place)] for place in places]


def audit(run: Run, correct: Mapping[str, pd.Series]) -> tuple[int, list[str]]:
    """Recompute top-1 from the per-image outcomes: how many cells agree, and the keys of those that do not."""
    stored = run.cells.set_index("key")["top1"]
    differ = [
        key
        for key, right in correct.items()
        if not abs(float(right.mean()) - float(stored[key])) < 5e-7
    ]
    return len(correct) - len(differ), differ

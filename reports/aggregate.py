"""Rows of figures and tables: one for each backbone, method and budget, averaged over seeds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from backbones.common.labels import labelled
from reports.run import KINDS, METRICS, SPREAD, Run, sequence
from reports.style import GROUPS, group
from suite.stats.metric import TOP1, Metric
from suite.store.schema import PAIRED
from suite.store.unstated import UNSTATED, unstated_notes

MEANS = [*METRICS, *KINDS, *SPREAD, "token_ratio", "total", "removed", "images"]
MEANS += ["images_per_second"]
# Of the table `statistics`; its top-1 is that of the cells.
STATISTICS = ("top1_low", "top1_high", "reference", *PAIRED.split())
PLACE = ["backbone", "label", "budget"]


def backbones(run: Run) -> list[str]:
    """Return the backbones of the run in the order of the spec."""
    present = set(run.cells["backbone"])
    # a merged run may have backbones that its spec does not name
    names = dict.fromkeys([*labelled(_spec_list(run, "backbones"), ()), *sorted(present)])
    return [name for name in names if name in present]


def _spec_list(run: Run, name: str) -> list[str]:
    """Return a list of the spec as texts, empty if the spec has none."""
    return list(map(str, sequence(run.spec.get(name))))


def labels(run: Run) -> list[str]:
    """Return the labels of the run: the dense model, then by group and in the order of the spec."""
    spec = _spec_list(run, "methods")
    first = run.cells.drop_duplicates("label")

    def rank(row: pd.Series) -> tuple[bool, int, int, str]:
        texts = (row["spec"], row["label"], row["method"])
        position = next((spec.index(text) for text in texts if text in spec), len(spec))
        return row["method"] != "none", GROUPS.index(group(row["label"])), position, row["label"]

    rows = sorted((row for _, row in first.iterrows()), key=rank)
    # What is no method is with the plain baselines, which come last.
    return [row["label"] for row in rows] + smaller(run)


def smaller(run: Run) -> list[str]:
    """Return the names of the smaller models of the run."""
    return list(dict.fromkeys(run.smaller["label"]))


def budgets(run: Run) -> list[float]:
    """Return the budgets of the run, ascending."""
    return sorted(run.cells["budget"].dropna().unique().tolist())


def points(run: Run) -> pd.DataFrame:
    """Return finished cells averaged over seeds, with the range of seeds and paired statistics.

    Smaller models are among those of the backbone that they stand beside.
    """
    cells = (
        pd.concat([run.cells, run.smaller], ignore_index=True) if len(run.smaller) else run.cells
    )
    done = cells[(cells["status"] == "ok") & cells["top1"].notna()]
    groups = done.groupby(PLACE, dropna=False, sort=False)
    names = ["method", "title", "family", "stochastic", "coarse", "schedule", "cls_window"]
    first = groups[names].first().replace({"schedule": {"": np.nan}})
    spread = groups["top1"].agg(seed_low="min", seed_high="max", seeds="count")
    frame = pd.concat([groups[MEANS].mean(), first, spread], axis=1).reset_index()
    frame = frame.merge(_paired(run), on=PLACE, how="left").assign(kind=run.kind, metric=run.metric)
    # merging turned cells without statistics into NaN, which is truthy
    significant = frame["significant"]
    frame["significant"] = significant.where(significant.notna(), None)
    orders = {"backbone": backbones(run), "label": labels(run)}

    def rank(column: pd.Series) -> pd.Series:
        return column.map(orders[column.name].index) if column.name in orders else column

    # the dense model has no budget and comes first
    by = ["backbone", "budget", "label"]
    return frame.sort_values(by, key=rank, na_position="first", ignore_index=True)


def metric_of(frame: pd.DataFrame) -> Metric:
    """Return what the accuracy of `points` is; top-1 of other frames."""
    return next(iter(frame.get("metric", ())), TOP1)


def few_seeds(frame: pd.DataFrame) -> bool:
    """Return whether any difference has an envelope over two to four seeds, not an interval."""
    return bool(frame["seeds"].between(2, 4).any() and frame["difference_low"].notna().any())


def references(frame: pd.DataFrame) -> str:
    """Return the reference of all differences in `frame`.

    There are several if two methods have the same composition at some budgets only.
    """
    return " or ".join(frame.loc[frame["budget"].notna(), "reference"].dropna().unique())


def corrected_for(frame: pd.DataFrame) -> str:
    """Return for how many comparisons intervals and p are corrected; empty if none was tested."""
    counts = sorted({int(count) for count in frame["comparisons"].dropna()})
    if not counts:
        return ""
    if counts == [1]:
        return "1 comparison"
    first = f"{counts[0]} to " if len(counts) > 1 else ""
    return f"{first}{counts[-1]} comparisons"


def _paired(run: Run) -> pd.DataFrame:
    """Return the paired statistics, with dtypes that survive an empty table."""
    frame = run.statistics[[*PLACE, *STATISTICS]].drop_duplicates(PLACE)
    objects = ("backbone", "label", "reference", "significant")
    return frame.astype({name: object if name in objects else "float64" for name in frame.columns})


def unfinished(run: Run) -> pd.DataFrame:
    """Return skipped and failed cells with their reasons, failures first.

    Methods without a published schedule are named elsewhere (`unstated`).
    """
    cells = run.cells
    rows = cells[(cells["status"] != "ok") & (cells["reason"] != UNSTATED)]
    return rows.sort_values(["status", "backbone", "label", "budget", "seed"], ignore_index=True)


def unstated(run: Run) -> list[str]:
    """Return the sentence on methods that protocol `paper` does not run, if there are any."""
    return unstated_notes(zip(run.cells["label"], run.cells["reason"], strict=True))


def averaged(frame: pd.DataFrame, by: list[str], value: str) -> pd.DataFrame:
    """Return the mean of `value` over seeds for each combination of `by`."""
    return frame.groupby(by, dropna=False, sort=True)[value].mean().reset_index()


def by_block(run: Run) -> pd.DataFrame:
    """Return foreground kept, tokens kept and their ratio `lift` by block, averaged over seeds.

    Stored are the blocks where tokens leave: up to the next such block what is left stays the same.
    """
    groups = run.foreground.groupby([*PLACE, "block"], sort=True)
    frame = _to_the_last_block(run, groups[["foreground_kept", "kept"]].mean().reset_index())
    kept = frame["kept"].to_numpy(dtype=float)
    unknown = np.full(len(kept), np.nan)
    frame["lift"] = np.divide(frame["foreground_kept"], kept, out=unknown, where=kept > 0)
    return frame


def _to_the_last_block(run: Run, rows: pd.DataFrame) -> pd.DataFrame:
    """Return `rows` with one for every block, each the same as the stored one before it."""
    depths = run.every_cell.groupby("backbone")["blocks"].max()
    whole = [rows]
    for (backbone, *_), own in rows.groupby(PLACE, sort=True):
        later = set(range(int(depths.get(backbone, 0)))) - set(own["block"])
        missing = pd.DataFrame({"block": sorted(later)}, dtype=own["block"].dtype)
        whole.append(pd.merge_asof(missing, own.sort_values("block"), on="block"))
    if len(whole) == 1:
        return rows
    filled = pd.concat(whole, ignore_index=True)
    return filled.sort_values([*PLACE, "block"], ignore_index=True)


def blocks_of(rows: pd.DataFrame) -> list[int]:
    """Return the blocks in `rows`, ascending."""
    return sorted(map(int, rows["block"].unique()))


def chosen_blocks(blocks: list[int], count: int = 7) -> list[int]:
    """Return at most `count` of `blocks`, evenly spread, with the last and without the first."""
    # nothing is reduced before the first block
    later = sorted(blocks)[1:] or sorted(blocks)
    indices = np.linspace(len(later) - 1, 0, min(count, len(later)))[::-1]
    return [later[round(index)] for index in indices]


def audit(run: Run, recomputed: Mapping[str, float]) -> tuple[int, list[str]]:
    """Compare accuracies with those `recomputed` from the outcomes.

    Returns how many cells agree with their record, and the keys of those that do not.
    """
    stored = run.every_cell.set_index("key")["top1"]
    differ = []
    for key, accuracy in recomputed.items():
        # negated, so that NaN counts as a difference
        if not abs(accuracy - float(stored[key])) < 5e-7:
            differ.append(key)
    return len(recomputed) - len(differ), differ

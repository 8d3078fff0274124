"""From the finished cells of a tuning to its tables of tries, and the settings picked by them."""

from __future__ import annotations

from collections.abc import Iterable

from methods.spec import MethodSpec
from suite.analysis.statistics import outcomes_of
from suite.plan.loading import weights_hash
from suite.store.results import Results
from suite.store.schema import CellRecord
from suite.tries.settings import Setting, best, default_setting
from suite.tries.table import Origin, Tries, Try
from suite.tune.prepare import Planned, Tuning


def collect(tuning: Tuning, records: Iterable[CellRecord], results: Results) -> list[Tries]:
    """The table of each backbone, from the `records` of finished cells and their results."""
    by_key = {record.key: record for record in records}
    # Once for all backbones, since it may read every image.
    content = tuning.prepared.dataset.content(tuning.prepared.indices)
    tables = []
    for backbone, tries in tuning.tries.items():
        rows = [answered(each, by_key[each.cell.key], results) for each in tries]
        by_method: dict[MethodSpec, list[Try]] = {}
        for each, row in zip(tries, rows, strict=True):
            by_method.setdefault(each.method, []).append(row)
        picks = {}
        for method, of_method in by_method.items():
            picked = pick(of_method, default_setting(method.method))
            if picked:
                # Under the name by which a comparison asks for it.
                picks[method.untuned] = picked
        tables.append(Tries(origin(tuning, backbone, content), tuple(rows), picks))
    return tables


def answered(planned: Planned, record: CellRecord, results: Results) -> Try:
    """What came of a planned try: its answers, or why there are none."""
    name = planned.method.untuned
    if record.status != "ok":
        return Try(name, planned.setting, planned.budget, reason=record.reason)
    return Try(
        name,
        planned.setting,
        planned.budget,
        removed=record.removed_share,
        tokens_removed=sum(removal.tokens for removal in record.removals.values()),
        outcomes=outcomes_of(name, [record], results),
    )


def pick(tries: Iterable[Try], default: Setting) -> Setting | None:
    """The setting of a method that keeps most, mean over all budgets.

    A setting that cannot meet a budget, or failed, cannot be picked. None if none can.
    """
    kept: dict[Setting, list[float]] = {}
    lacking = set()
    for row in tries:
        if row.accuracy is None:
            lacking.add(row.setting)
        else:
            kept.setdefault(row.setting, []).append(row.accuracy)
    # A sum that lacks a budget cannot be compared with one that has all. Rounded, since sums of
    # equally many right answers may differ in their last bits.
    eligible = [
        (setting, round(sum(values), 9))
        for setting, values in kept.items()
        if setting not in lacking
    ]
    return best(eligible, default)


def origin(tuning: Tuning, backbone: str, content: str) -> Origin:
    """What the tries of a backbone depend on; `content` is the hash of the images."""
    spec, prepared = tuning.spec, tuning.prepared
    return Origin(
        backbone=backbone,
        weights=weights_hash(prepared.models[backbone]),
        data=prepared.dataset.name,
        split=prepared.dataset.split,
        content=content,
        images=tuple(prepared.indices.tolist()),
        budgets=spec.budgets,
        seed=spec.seed,
        sites=spec.sites,
        flops_convention=spec.flops_convention,
        precision=spec.precision,
        device=prepared.device,
    )

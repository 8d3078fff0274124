"""What an ablation says: each axis around a method, setting by setting, with paired statistics against the method.

Two tables come of it: ``ablation`` has a row for each setting, ``ablation_sentences`` a sentence for
each axis.

The settings of one axis, backbone, method and budget are the family of Holm's correction. What
removes nothing (the permutations of the axis order) is compared with the dense model, as a family
of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table
from scipy.stats import spearmanr

from methods.spec import parse
from suite.analysis.statistics import Records, read
from suite.config.run_spec import RunSpec
from suite.plan.ablation_axes import UNCHANGED, Setting, permutations, settings
from suite.plan.cells import DENSE, SAME
from suite.stats import Outcomes, compare_to_reference, wilson
from suite.stats.compare import Comparison
from suite.store.run_folder import Store

METRICS = ("top1", "agreement", "kl", "tau")
COLUMNS = (
    "axis", "backbone", "method", "budget", "setting", "label", "spec", "is_reference", "status", "reason", "seeds",
    "images", *METRICS, "removed", "top1_low", "top1_high", "difference", "difference_low", "difference_high", "interval", "p",
    "p_holm", "only_method_correct", "only_reference_correct", "smallest", "significant",
)  # fmt: skip
ORDER_FIGURES = 3  # settings at least for a correlation


def write_ablation(records: Records, spec: RunSpec, store: Store, slices: int) -> list[str]:
    """Write ``ablation.parquet`` and ``ablation_sentences.parquet`` of a finished run; returns the sentences."""
    families = list(_families(records, spec, store, slices))
    rows = [row for _, family in families for row in family]
    words = [head | {"sentence": sentence(family, spec)} for head, family in families]
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"significant": "boolean"})
    store.write_analysis("ablation", frame)
    store.write_analysis("ablation_sentences", pd.DataFrame(words))
    return [row["sentence"] for row in words]


def _families(
    records: Records, spec: RunSpec, store: Store, slices: int
) -> Iterator[tuple[dict[str, Any], Records]]:
    """What names a family, and its rows, the reference first."""
    for backbone in spec.backbones:
        mine = [record for record in records if record["backbone"] == backbone]
        for axis in spec.axes:
            for text in spec.methods:
                method = parse(text)
                for budget in spec.budgets:
                    head = {
                        "axis": axis,
                        "backbone": backbone,
                        "method": method.text,
                        "budget": budget,
                    }
                    found = settings(method, axis)
                    there = [record for record in mine if record["budget"] == budget]
                    yield head, _family(head, found, there, store, slices)
            if axis == "order":
                head = {"axis": axis, "backbone": backbone, "method": "permute", "budget": 0.0}
                found = [Setting("order=restored", DENSE), *permutations()]
                there = [{**record, "budget": 0.0} for record in mine if not record["budget"]]
                yield head, _family(head, found, there, store, slices)


def _family(
    head: dict[str, Any], found: Sequence[Setting], records: Records, store: Store, slices: int
) -> Records:
    """The rows of one family; settings that come to the same cell are one row under all their words."""
    done = [record for record in records if record["status"] == "ok"]
    outcomes = {cell.label: cell for cell in read(store, done, slices, head["budget"])}
    by_text = {text: record["label"] for record in records for text in record["label"].split(SAME)}
    reference = outcomes.get(by_text.get(found[0].method.text, ""))
    labels = {by_text.get(setting.method.text) for setting in found}
    others = [cell for label, cell in outcomes.items() if label in labels]
    compared = (
        {row.label: row for row in compare_to_reference(reference, others)} if reference else {}
    )
    rows: dict[str, dict[str, Any]] = {}
    for setting in found:
        label = by_text.get(setting.method.text, setting.method.text)
        if label in rows:
            known = [] if rows[label]["setting"] == UNCHANGED else [rows[label]["setting"]]
            rows[label]["setting"] = ", ".join([*known, setting.words])
            continue
        row = head | {"setting": setting.words, "label": label, "spec": setting.method.text}
        same = [record for record in records if record["label"] == label]
        rows[label] = row | _measured(same, outcomes.get(label), compared.get(label), setting)
    first = next(iter(rows.values()))
    return [row | {"is_reference": row is first} for row in rows.values()]


def _measured(
    records: Records, cell: Outcomes | None, compared: Comparison | None, setting: Setting
) -> dict[str, Any]:
    """What was found of one setting, its seeds together, or why nothing was."""
    if cell is None:
        failed = next(iter(records), {"status": "skipped", "reason": setting.refused})
        return {"status": failed["status"], "reason": failed["reason"], "interval": ""}
    low, high = wilson(round(float(cell.correct.mean(axis=0).sum())), cell.count)
    means = {
        name: sum(record["metrics"][name] for record in records) / len(records) for name in METRICS
    }
    row = {"status": "ok", "seeds": cell.seeds, "images": cell.count, "removed": cell.reduction, "top1_low": low,
           "top1_high": high, "reason": "", "interval": "", **means}  # fmt: skip
    if compared is None:
        return row
    return row | {
        "difference": compared.difference,
        "difference_low": compared.difference_low,
        "difference_high": compared.difference_high,
        "interval": compared.kind,
        "p": compared.p,
        "p_holm": compared.p_holm,
        "only_method_correct": compared.only_method_correct,
        "only_reference_correct": compared.only_reference_correct,
        "smallest": compared.smallest,
        "significant": compared.significant,
    }


def tables(folder: Path) -> Iterator[Table]:
    """The families of the ablation in `folder` for a terminal, one table each."""
    frame = pd.read_parquet(folder / "analyses" / "ablation.parquet")
    for (axis, backbone, method, budget), rows in frame.groupby(
        ["axis", "backbone", "method", "budget"], sort=False
    ):
        removed = f"-{100 * budget:.4g} % FLOPs" if budget else "nothing removed"
        heads = (
            "setting",
            "seeds",
            "top-1",
            "difference",
            "95 % interval",
            "p (Holm)",
            "agreement",
            "tau",
        )
        table = Table(*heads, title=f"{axis}: {method} on {backbone}, {removed}")
        for row in rows.to_dict("records"):
            table.add_row(*_printed(row))
        yield table


def _printed(row: dict[str, Any]) -> tuple[str, ...]:
    if row["status"] != "ok":
        return (row["setting"], "", row["status"])
    shown = (row["setting"], f"{row['seeds']:.0f}", f"{100 * row['top1']:.1f}")
    kept = (f"{100 * row['agreement']:.1f}", f"{row['tau']:.2f}")
    if row["is_reference"]:
        return (*shown, "reference", "", "", *kept)
    spread = f"{100 * row['difference_low']:+.1f} to {100 * row['difference_high']:+.1f}"
    tested = _p(row["p_holm"]) if pd.notna(row["p_holm"]) else "not tested"
    return (*shown, f"{100 * row['difference']:+.1f}", spread, tested, *kept)


def _p(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def sentence(rows: Records, spec: RunSpec) -> str:
    """What one family shows, with its figures, how many images and seeds it stands on, and what it cannot tell."""
    first, *others = rows
    whole = first["budget"] == 0
    who = "the dense model" if whole else first["method"]
    what = "nothing removed" if whole else f"{100 * first['budget']:.4g} % of FLOPs removed"
    where = f"Axis {first['axis']} on {first['backbone']}, {what}"
    if first["status"] != "ok":
        return f"{where}: {who} was {first['status']}, {first['reason']}."
    seeds = max((row.get("seeds") or 1) for row in rows)
    drawn = f", {seeds} seeds of what is drawn at random" if seeds > 1 else ""
    own = "" if whole else f" ({first['setting']})"
    begin = f"{where}, {first['images']:,} {spec.split} images{drawn}: {who}{own} is right on {100 * first['top1']:.1f} %."
    done = [row for row in others if row["status"] == "ok"]
    tested = [row for row in done if row["p_holm"] is not None]
    parts = [
        begin,
        _counted(tested),
        _ends(tested),
        _by_tau(rows) if first["axis"] == "order" else "",
    ]
    left = [row for row in others if row["status"] != "ok"]
    if left:
        parts.append(f"Not measured: {'; '.join(_why(row) for row in left)}.")
    if len(tested) < len(done):
        parts.append(
            f"Not tested, since their FLOPs differ too much: {len(done) - len(tested)} settings."
        )
    return " ".join(part for part in parts if part)


def _why(row: dict[str, Any]) -> str:
    return f"{row['setting']} ({row['reason']})"


def _counted(tested: Records) -> str:
    """How many settings keep less, more, or cannot be told apart."""
    if not tested:
        return ""
    worse = sum(row["significant"] and row["difference"] < 0 for row in tested)
    better = sum(row["significant"] and row["difference"] > 0 for row in tested)
    open_ = len(tested) - worse - better
    if len(tested) == 1:
        found = (
            "keeps less" if worse else "keeps more" if better else "cannot be told apart from it"
        )
        return f"The other setting {found} (5 %, McNemar's or the sign-flip test)."
    return (
        f"Of {len(tested)} other settings {worse} keep less and {better} more (p below 5 % after Holm's correction, "
        f"and the interval on one side of zero); {open_} cannot be told apart from it."
    )


def _ends(tested: Records) -> str:
    """The best and the worst of the others with their intervals."""
    ranked = sorted(tested, key=lambda row: row["difference"])
    if not ranked:
        return ""
    best = f"Highest of the others: {_difference(ranked[-1])}"
    return f"{best}; lowest: {_difference(ranked[0])}." if len(ranked) > 1 else f"{best}."


def _difference(row: dict[str, Any]) -> str:
    over = "" if row["interval"] == "interval" else " over the seeds"
    return (
        f"{row['setting']}, {100 * row['difference']:+.1f} points (95 % {row['interval']}{over} "
        f"{100 * row['difference_low']:+.1f} to {100 * row['difference_high']:+.1f})"
    )


def _by_tau(rows: Records) -> str:
    """How top-1 and agreement follow the order of the survivors."""
    done = [row for row in rows if row["status"] == "ok"]
    if len(done) < ORDER_FIGURES or len({row["tau"] for row in done}) < 2:
        return ""
    tau, top1 = [row["tau"] for row in done], [row["top1"] for row in done]
    if len(set(top1)) < 2:
        return "Top-1 is the same whatever Kendall's tau of the order."
    rho = float(spearmanr(tau, top1).statistic)
    return (
        f"Over {len(done)} settings with Kendall's tau of the order from {min(tau):+.2f} to {max(tau):+.2f}, top-1 "
        f"follows tau with Spearman's rho {rho:+.2f}."
    )

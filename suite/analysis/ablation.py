"""The ablation: each axis around a method, setting by setting, compared with the method itself.

The settings of one axis, backbone, method and budget are one family of Holm's correction. Settings
that remove nothing (the permutations of the axis order) are compared with the dense model, as a
family of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from rich.table import Table
from scipy.stats import spearmanr

from methods.spec import MethodSpec
from suite.analysis.brief import Brief
from suite.analysis.pair_sentences import comparisons_words, power_sentence, signed_points
from suite.analysis.statistics import accuracy_row, difference_columns, outcomes_at
from suite.config.run_spec import RunSpec
from suite.plan.ablation_axes import UNCHANGED, Setting, permutations, settings
from suite.plan.cells import DENSE
from suite.plan.notes import called
from suite.stats.ablation_words import ablation_answers
from suite.stats.compare import ENVELOPE, Comparison, compare_to_reference
from suite.stats.correctness import Outcomes, counted
from suite.stats.metric import TOP1, Metric
from suite.stats.schedule_words import listed
from suite.stats.verdict import too_few
from suite.store.results import Results
from suite.store.schema import SAME, TABLES, CellRecord

LEAST_FOR_RHO = 3  # settings, for a correlation
PERMUTE = "permute"  # the method that changes the order alone
COLUMNS_MEAN = (
    "agreement: answers that are the dense model's, %; tau: Kendall's correlation of the "
    "survivors' order with the image's, 1 where it is kept."
)
WHOLE = {"seeds", "images", "only_method_correct", "only_reference_correct", "comparisons"}
MEANS = ("agreement", "kl", "tau")  # of the metrics, over seeds


class Family(NamedTuple):
    """What the settings of one family vary; budget 0 for those that remove nothing."""

    axis: str
    backbone: str
    method: str
    budget: float


@dataclass(frozen=True)
class AblationRow:
    """One setting: a row of the table ``ablation``, with its columns."""

    axis: str
    backbone: str
    method: str
    budget: float
    setting: str
    label: str
    spec: str
    is_reference: bool
    status: str = "ok"
    reason: str = ""
    interval: str = ""
    seeds: int | None = None
    images: int | None = None
    top1: float | None = None
    agreement: float | None = None
    kl: float | None = None
    tau: float | None = None
    removed: float | None = None
    top1_low: float | None = None
    top1_high: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    only_method_correct: int | None = None
    only_reference_correct: int | None = None
    smallest: float | None = None
    significant: bool | None = None
    comparisons: int | None = None


def ablation_tables(
    records: Sequence[CellRecord],
    spec: RunSpec,
    methods: Sequence[MethodSpec],
    results: Results,
) -> dict[str, pd.DataFrame]:
    """The tables ``ablation``, a row a setting, and ``ablation_sentences``, one for each family.

    `methods` are those of `spec`, around which it varies its axes.
    """
    rows: list[dict[str, Any]] = []
    for family, settings_of_family in _families(spec, methods):
        members = [r for r in records if r.backbone == family.backbone and r.shown]
        rows += map(asdict, _family_rows(family, settings_of_family, members, results))
    frame = pd.DataFrame(rows, columns=list(TABLES["ablation"].columns))
    return {
        "ablation": frame.astype({"significant": "boolean"}),
        "ablation_sentences": ablation_sentences(frame, records),
    }


def ablation_sentences(table: pd.DataFrame, records: Sequence[CellRecord]) -> pd.DataFrame:
    """The table ``ablation_sentences`` of a table ``ablation`` and the cells of its run."""
    sentences = []
    for key, rows in table.groupby(list(Family._fields), sort=False):
        family = Family(*key)
        restored = [_restored(row) for row in rows.to_dict("records")]
        told = sentence(restored, _cell_of(family, restored[0].spec, records))
        sentences.append({**family._asdict(), "sentence": told})
    return pd.DataFrame(sentences)


def _cell_of(family: Family, spec: str, records: Sequence[CellRecord]) -> CellRecord:
    """The cell of `spec`, the method as it is; where it has none, any of its backbone."""
    here = [record for record in records if record.backbone == family.backbone and record.shown]
    own = [cell for cell in here if (cell.spec, cell.budget) == (spec, family.budget)]
    return (own or here)[0]


def _restored(row: Mapping[Any, Any]) -> AblationRow:
    """One row of the table; what is missing is None."""
    values: dict[str, Any] = {}
    for name in TABLES["ablation"].columns:
        value = row[name]
        values[name] = None if pd.isna(value) else value
        # A column with gaps has fractions.
        if name in WHOLE and values[name] is not None:
            values[name] = int(value)
    return AblationRow(**values)


def _families(
    spec: RunSpec, methods: Sequence[MethodSpec]
) -> Iterator[tuple[Family, list[Setting]]]:
    """Every family and its settings, the reference first."""
    for backbone in spec.named:
        for axis in spec.axes:
            for method in methods:
                for budget in spec.budgets:
                    # `settings` begins with the method as it is, which is the family's reference.
                    yield Family(axis, backbone, method.label, budget), settings(method, axis)
            if axis == "order":
                # Permutations remove nothing: beside a method they would win by that alone.
                dense = Setting("order=restored", DENSE)
                yield Family(axis, backbone, PERMUTE, 0.0), [dense, *permutations()]


def _family_rows(
    family: Family, members: Sequence[Setting], records: Sequence[CellRecord], results: Results
) -> list[AblationRow]:
    """Rows of one family; settings that come to the same cell are one row under all their words."""
    # The dense cell has no budget, the permutations one of 0.
    budgets = (family.budget,) if family.budget else (None, 0.0)
    cells = [record for record in records if record.budget in budgets]
    done = [record for record in cells if record.status == "ok"]
    outcomes: dict[str, Outcomes] = {}
    for budget in budgets:
        outcomes |= {cell.label: cell for cell in outcomes_at(done, results, budget)}
    # A cell's label names every method that comes to it; each leads to that cell.
    label_of = {name: record.label for record in cells for name in record.label.split(SAME)}
    # a method in a file is labelled by its name, not by its spec
    label_of |= {record.spec: record.label for record in cells}
    labels = [label_of.get(setting.method.text, setting.method.text) for setting in members]
    reference = outcomes.get(labels[0])
    compared: dict[str, Comparison] = {}
    if reference:
        # Every cell once, however many settings come to it: Holm's family counts tests, not words.
        others = [cell for label, cell in outcomes.items() if label in labels]
        compared = {row.label: row for row in compare_to_reference(reference, others)}
    rows: dict[str, AblationRow] = {}
    for setting, label in zip(members, labels, strict=True):
        if label in rows:
            # a second setting of the same cell: its words join those of the first
            words = [rows[label].setting, setting.words]
            joined = ", ".join(text for text in words if text != UNCHANGED)
            rows[label] = replace(rows[label], setting=joined)
            continue
        row = AblationRow(*family, setting.words, label, setting.method.text, not rows)
        same = [record for record in cells if record.label == label]
        rows[label] = _measured(row, same, outcomes.get(label), compared.get(label), setting)
    return list(rows.values())


def _measured(
    row: AblationRow,
    records: Sequence[CellRecord],
    cell: Outcomes | None,
    compared: Comparison | None,
    setting: Setting,
) -> AblationRow:
    """Add the results of a setting, its seeds together, or why there are none."""
    if cell is None:
        if not records:
            return replace(row, status="skipped", reason=setting.refused)
        return replace(row, status=records[0].status, reason=records[0].reason or "")
    # Hits averaged over seeds: several seeds of one image are not several images.
    accuracy = accuracy_row(cell, row.backbone, row.budget, None)
    columns = {name: accuracy[name] for name in ("seeds", "images", "top1_low", "top1_high")}
    metrics = [record.metrics for record in records if record.metrics]
    columns["top1"] = sum(each.accuracy for each in metrics) / len(metrics)
    for name in MEANS:
        columns[name] = sum(getattr(each, name) for each in metrics) / len(metrics)
    if compared is not None:
        columns |= difference_columns(compared)
        columns |= {"interval": compared.kind, "smallest": compared.smallest}
    return replace(row, removed=cell.removed, **columns)


def sentence(rows: Sequence[AblationRow], cell: CellRecord) -> str:
    """What one family shows, on how many images and seeds, and what it cannot show.

    `cell` is that of the method as it is, or any of its backbone.
    """
    first, *others = rows
    who, removed, own = first.method, f"{100 * first.budget:.4g} % of FLOPs removed", ""
    if first.budget:
        own = f" ({first.setting})"
        # Another schedule gives other numbers; the axis `schedule` tells its own.
        if cell.setting and first.axis != "schedule":
            removed += f" ({cell.setting})"
    else:
        who, removed = "the dense model", "nothing removed"
    place = f"Axis {first.axis} on {called(first.backbone, cell.made_up)}, {removed}"
    if first.status != "ok" or first.top1 is None:
        return f"{place}: {who} was {first.status}, {first.reason}."
    images = counted(first.images or 0, cell.kind, cell.split)
    seeds = max(row.seeds or 1 for row in rows)
    drawn = f", {seeds} seeds of what is drawn at random" if seeds > 1 else ""
    done = [row for row in others if row.status == "ok"]
    # Settings of other FLOPs have no p: their difference would mix work with the setting.
    tested = [row for row in done if row.p_holm is not None]
    keeps = "is right on" if cell.task == "classification" else "has a mean IoU of"
    parts = [
        f"{place}, {images}{drawn}: {who}{own} {keeps} {100 * first.top1:.1f} %.",
        _counted(tested),
        _best_and_worst(tested, cell.kind),
        _by_tau(rows) if first.axis == "order" else "",
    ]
    missing = [f"{row.setting} ({row.reason})" for row in others if row.status != "ok"]
    if missing:
        parts.append(f"Not measured: {'; '.join(missing)}.")
    if len(tested) < len(done):
        parts.append(
            f"Not tested, since their FLOPs differ too much: {len(done) - len(tested)} settings."
        )
    return " ".join(part for part in parts if part)


def _counted(tested: Sequence[AblationRow]) -> str:
    """How many settings keep less, keep more, or cannot be told apart."""
    if not tested:
        return ""
    # Significant needs the corrected test and the interval, so both are in the sentence below.
    apart = [row.difference or 0.0 for row in tested if row.significant]
    worse, better = sum(gap < 0 for gap in apart), sum(gap > 0 for gap in apart)
    if len(tested) == 1:
        verdict = "cannot be told apart from it"
        if apart:
            verdict = "keeps less" if worse else "keeps more"
        return f"The other setting {verdict} (5 %, McNemar's or the sign-flip test)."
    less = {0: "none keeps", 1: "1 keeps"}.get(worse, f"{worse} keep")
    return (
        f"Of {len(tested)} other settings {less} less and {better or 'none'} more (p below 5 % and "
        f"the interval on one side of zero, both corrected for {comparisons_words(len(tested))} by "
        f"Holm's method); {len(tested) - worse - better} cannot be told apart from it."
    )


def _best_and_worst(tested: Sequence[AblationRow], kind: str) -> str:
    """The best and the worst of the others with their intervals."""
    ranked = sorted(tested, key=lambda row: row.difference or 0.0)
    if not ranked:
        return ""
    most = ranked[-1].difference
    level = [row.setting for row in ranked if row.difference == most]
    who = f"{listed(level[::-1])} tie as the highest" if len(level) > 1 else "Highest"
    best = f"{who} of the others: {_difference(ranked[-1], kind)}"
    return f"{best}; lowest: {_difference(ranked[0], kind)}." if len(ranked) > 1 else f"{best}."


def _difference(row: AblationRow, kind: str) -> str:
    if _same_answers(row):
        return f"{row.setting}, right on the same {kind}"
    over = "" if row.interval == "interval" else " over the seeds"
    return (
        f"{row.setting}, {_points(row.difference)} points (95 % {row.interval}{over} "
        f"{_points(row.difference_low)} to {_points(row.difference_high)})"
    )


def _points(share: float | None) -> str:
    return signed_points(100 * (share or 0.0))


def _same_answers(row: Any) -> bool:
    return bool(row.only_method_correct == row.only_reference_correct == 0)


def _by_tau(rows: Sequence[AblationRow]) -> str:
    """How top-1 follows the order of the survivors."""
    done = [row for row in rows if row.status == "ok"]
    tau, top1 = [row.tau or 0.0 for row in done], [row.top1 or 0.0 for row in done]
    # Spearman's rho of two settings is always 1 or -1, and of one tau undefined.
    if len(done) < LEAST_FOR_RHO or len(set(tau)) < 2:
        return ""
    # constant top-1: rho is undefined, but the finding is not
    if len(set(top1)) < 2:
        return "Accuracy is the same whatever Kendall's tau of the order."
    rho = float(spearmanr(tau, top1).statistic)
    return (
        f"Over {len(done)} settings with Kendall's tau of the order from {min(tau):+.2f} to "
        f"{max(tau):+.2f}, accuracy follows tau with Spearman's rho {rho:+.2f}."
    )


def ablation_brief(table: pd.DataFrame, kind: str) -> Brief:
    """What a terminal says of a table ``ablation``, of images or videos by their `kind`."""
    sentences = []
    tested = table[table["smallest"].notna() & (table["budget"] > 0)]
    possible = tested[tested["smallest"] < 1]
    doubts = [f"{too_few(int(tested['images'].max()), kind)}."] if len(tested) else []
    if len(possible):
        images = int(possible["images"].max())
        sentences.append(power_sentence(possible["smallest"].max(), images, kind))
        doubts = []
    if by_tau := _by_tau_brief(table):
        sentences.append(by_tau)
    return Brief(ablation_answers(table), doubts, sentences)


def _by_tau_brief(table: pd.DataFrame) -> str:
    """How top-1 follows the order of the survivors, over the settings of the first method."""
    rows = table[(table["axis"] == "order") & (table["status"] == "ok") & (table["budget"] > 0)]
    if rows.empty:
        return ""
    family = list(Family._fields)
    first = rows[(rows[family] == rows[family].iloc[0]).all(axis=1)]
    if len(first) < LEAST_FOR_RHO or min(first["tau"].nunique(), first["top1"].nunique()) < 2:
        return ""
    rho = float(spearmanr(first["tau"], first["top1"]).statistic)
    return (
        f"The nearer the survivors' order is to the image's, the {'more' if rho > 0 else 'less'} "
        f"is kept: Spearman's rho {rho:+.2f} over {len(first)} settings."
    )


def column_notes(folder: Path) -> list[str]:
    """What the words of `console_tables` mean, of the ablation in `folder`, a line each."""
    frame = pd.read_parquet(folder / "analyses" / "ablation.parquet", columns=["method"])
    notes = [COLUMNS_MEAN]
    if (frame["method"] == PERMUTE).any():
        notes.append(f"{PERMUTE}: no token goes, all patch tokens change places.")
    return notes


def seeds_note(folder: Path) -> str:
    """What the intervals of the ablation in `folder` are where seeds are few; else empty."""
    frame = pd.read_parquet(folder / "analyses" / "ablation.parquet", columns=["interval"])
    return ENVELOPE if (frame["interval"] == "range").any() else ""


def console_tables(folder: Path, metric: Metric = TOP1) -> Iterator[Table]:
    """The families of the ablation in `folder` as tables for a terminal."""
    frame = pd.read_parquet(folder / "analyses" / "ablation.parquet")
    for key, rows in frame.groupby(list(Family._fields), sort=False):
        family = Family(*key)
        budget = f"-{100 * family.budget:.4g} % FLOPs" if family.budget else "nothing removed"
        table = Table(
            "setting",
            "seeds",
            metric.name,
            "difference",
            "95 % interval",
            "p (Holm)",
            "agreement",
            "tau",
            title=f"{family.axis}: {family.method} on {family.backbone}, {budget}",
        )
        for row in rows.itertuples():
            table.add_row(*_printed(row))
        yield table


def _printed(row: Any) -> tuple[str, ...]:
    """Cells of the printed row of one setting."""
    if row.status != "ok":
        return (row.setting, "", row.status)
    shown = (row.setting, f"{row.seeds:.0f}", f"{100 * row.top1:.1f}")
    agreement = (f"{100 * row.agreement:.1f}", f"{row.tau:.2f}")
    if row.is_reference:
        return (*shown, "reference", "", "", *agreement)
    spread = "right on the same"
    if not _same_answers(row):
        spread = f"{_points(row.difference_low)} to {_points(row.difference_high)}"
    p = "not tested"
    if pd.notna(row.p_holm):
        p = "<0.001" if row.p_holm < 0.001 else f"{row.p_holm:.3f}"
    return (*shown, _points(row.difference), spread, p, *agreement)

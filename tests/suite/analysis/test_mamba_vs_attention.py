"""Backbones of both families side by side, on small stand-ins: what ran on all, and what it kept."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reports.report_data import ReportData
from reports.run import load
from reports.sections import needed, sections
from suite.comparison import run_comparison
from suite.config.run_spec import RunSpec

Specs = Callable[..., RunSpec]


@pytest.fixture
def run(small: Specs, tmp_path: Path) -> Path:
    """Mamba and attention under a method of scans, one of transformers at two budgets, and a blind one."""
    methods = ("mtr", "evit", "tome[feature=keys]", "tome[feature=branch]", "random")
    spec = small(
        backbones=("vim_mini", "deit_mini"),
        methods=methods,
        budgets=(0.2, 0.9),
        baselines=False,
        images=30,
        gallery=0,
    )
    result = run_comparison(spec, tmp_path / "run", quiet=True)
    assert not result.failures
    return tmp_path / "run"


def accuracies(folder: Path) -> dict[tuple[str, str, float | None], float]:
    """Top-1 by backbone, method text and budget, seeds averaged, from the cells on disk."""
    rows = [pd.read_json(path, typ="series") for path in (folder / "cells").glob("*.json")]
    frame = pd.DataFrame([row for row in rows if row["status"] == "ok"])
    frame["top1"] = [metrics["top1"] for metrics in frame["metrics"]]
    frame["budget"] = frame["budget"].astype(object).where(frame["budget"].notna(), None)
    found = {}
    for (backbone, label, budget), part in frame.groupby(
        ["backbone", "label", "budget"], dropna=False
    ):
        for text in str(label).split(" = "):
            found[str(backbone), text, None if pd.isna(budget) else float(budget)] = float(
                part["top1"].mean()
            )
    return found


def test_only_what_ran_on_all_backbones_is_set_side_by_side_and_the_report_says_what_is_not(
    run: Path,
) -> None:
    kept = pd.read_parquet(run / "analyses" / "mamba_vs_attention.parquet")
    assert list(dict.fromkeys(kept["method"])) == ["evit", "tome[feature=branch]", "random"]
    assert set(kept["budget"]) == {0.2}  # 90 % can be removed on no backbone by all of them
    assert dict(zip(kept["backbone"], kept["mixer"], strict=True)) == {
        "vim_mini": "Mamba",
        "deit_mini": "attention",
    }
    top1 = accuracies(run)
    for row in kept.to_dict("records"):
        share = (
            top1[row["backbone"], row["method"], row["budget"]]
            / top1[row["backbone"], "none", None]
        )
        assert row["kept"] == pytest.approx(share)
        assert row["kept_low"] <= row["kept"] <= row["kept_high"]
        assert row["removed"] == pytest.approx(0.2, abs=0.002)
        assert row["seeds"] == (2 if row["method"] == "random" else 1)
    contrasts = pd.read_parquet(run / "analyses" / "mamba_minus_attention.parquet")
    assert set(zip(contrasts["backbone"], contrasts["against"], strict=True)) == {
        ("vim_mini", "deit_mini")
    }
    for row in contrasts.to_dict("records"):
        one, other = (
            kept.loc[(kept["method"] == row["method"]) & (kept["backbone"] == name), "kept"].item()
            for name in ("vim_mini", "deit_mini")
        )
        assert row["difference"] == pytest.approx(one - other)
        assert row["difference_low"] <= row["difference"] <= row["difference_high"]
    found = next(
        one for one in sections(ReportData.of(load(run, needed()))) if one.key == "families"
    )
    assert found.sentence.startswith("On 30 images, with 20 % of FLOPs removed, evit keeps ")
    assert (
        "Not drawn: mtr, because on deit_mini it needs delta_mean; deit_mini has none: "
        "choose another method, or another score of it." in found.notes
    )
    assert [table.name for table in found.tables] == ["families", "family-contrasts"]
    assert np.isfinite(found.tables[0].frame["Accuracy kept, %"]).all()


def test_one_family_alone_has_nothing_to_be_set_beside(small: Specs, tmp_path: Path) -> None:
    run_comparison(
        small(methods=("evit",), budgets=(0.2,), baselines=False, gallery=0),
        tmp_path / "run",
        quiet=True,
    )
    assert not (tmp_path / "run" / "analyses" / "mamba_vs_attention.parquet").exists()

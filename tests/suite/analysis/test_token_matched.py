"""Equal counts of tokens beside equal FLOPs, worked out again from the stored answers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reports.page import read
from reports.sections import token_matched as section
from suite.comparison import run_comparison
from suite.config.run_spec import RunSpec
from suite.plan.prepare import prepare
from suite.store.run_folder import Store
from suite.store.schema import CellRecord

Specs = Callable[..., RunSpec]


def right(folder: Path, key: str) -> np.ndarray:
    parts = sorted((folder / "shards" / key).glob("*.parquet"))
    frame = pd.concat(map(pd.read_parquet, parts))
    return (frame.prediction == frame.label_true).to_numpy()


def test_both_differences_are_those_of_the_stored_answers(small: Specs, tmp_path: Path) -> None:
    methods = ("tome", "mtr", "random")
    spec = small(methods=methods, budgets=(0.2, 0.3, 0.5), baselines=False, gallery=0)
    result = run_comparison(spec, tmp_path, quiet=True)
    rows = {row["label"]: row for row in result.token_matched}
    assert list(rows) == list(methods)
    by_flops: dict[str, list[CellRecord]] = {}
    by_tokens: dict[str, list[CellRecord]] = {}
    counts = set()
    for record in Store(tmp_path).cells():
        if record.budget == 0.3:
            place = by_flops if record.protocol == "matched" else by_tokens
            place.setdefault(record.label, []).append(record)
    assert set(by_tokens) == {"tome", "mtr"}
    # What costs nothing runs once, as it was asked for.
    by_tokens["random"] = by_flops["random"]
    for name, row in rows.items():
        assert (row["backbone"], row["budget"], row["reference"]) == ("vim_mini", 0.3, "tome")
        for ending, cells in (("", by_flops), ("_tokens", by_tokens)):
            accuracy = np.mean([right(tmp_path, record.key) for record in cells[name]])
            base = np.mean([right(tmp_path, record.key) for record in cells["tome"]])
            assert row[f"top1{ending}"] == pytest.approx(accuracy)
            assert row[f"removed{ending}"] == cells[name][0].removed["flops"]
            if name == "tome":
                assert row[f"difference{ending}"] is None
                continue
            assert row[f"difference{ending}"] == pytest.approx(accuracy - base)
            low, high = row[f"difference{ending}_low"], row[f"difference{ending}_high"]
            assert low <= row[f"difference{ending}"] <= high
        counts.add(tuple((site, r.tokens) for site, r in by_tokens[name][0].removals.items()))
    assert len(counts) == 1
    assert rows["random"]["reduction_flops"] == 0 < rows["tome"]["reduction_flops"]
    assert rows["tome"]["removed_tokens"] < rows["tome"]["removed"]


def test_the_page_says_both_differences_and_the_cost(small: Specs, tmp_path: Path) -> None:
    spec = small(methods=("tome", "mtr"), budgets=(0.3,), baselines=False, gallery=0)
    result = run_comparison(spec, tmp_path, quiet=True)
    report = read(tmp_path)
    made = section.section(report, report.run.others)
    (row,) = [row for row in result.token_matched if row["label"] == "mtr"]
    for value in (row["difference"], row["difference_tokens"]):
        assert f"{abs(100 * value):.1f} points" in made.sentence
    assert "mtr minus tome on vim_mini at 30 %, 30 images:" in made.sentence
    assert f"{100 * row['reduction_flops']:.2f} %" in made.sentence
    (table,) = made.tables
    assert list(table.frame["Method"]) == ["tome", "mtr"]
    assert list(table.frame["Setting"]) == ["constant-ratio"] * 2


def test_without_pairs_or_under_another_protocol_there_is_no_table(
    small: Specs, tmp_path: Path
) -> None:
    spec = small(methods=("tome", "mtr"), budgets=(0.3,), protocol="tokens", gallery=0)
    assert prepare(spec).token_matched == []
    result = run_comparison(spec.model_copy(update={"baselines": False}), tmp_path, quiet=True)
    assert result.token_matched == []
    assert not (tmp_path / "analyses" / "token_matched.parquet").exists()

"""Whole runs on a small model: what lands on disk, and what an interruption leaves."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import reports
from backbones.base import Reducer
from backbones.common.errors import UserError
from backbones.models.vim import Vim
from backbones.sequence import TokenSequence
from reports.report_data import ReportData
from reports.run import load
from suite.comparison import Result, run_comparison
from suite.config.run_spec import RunSpec
from suite.evaluation.tree import Failure, evaluate
from suite.plan.cells import Cell
from suite.plan.layout import OTHER_TRACE
from suite.store.run_folder import Store

pytestmark = pytest.mark.usefixtures("unmade")

Specs = Callable[..., RunSpec]
Content = Callable[[Path], dict[str, bytes]]


def run(spec: RunSpec, folder: Path) -> Result:
    return run_comparison(spec, folder, quiet=True)


def test_a_run_leaves_its_cells_shards_and_analyses(small: Specs, tmp_path: Path) -> None:
    result = run(small(batch_size=7, shard_size=12), tmp_path / "run")
    folder = tmp_path / "run"
    assert not result.failures
    counted = Counter((record.method, record.status) for record in result.records)
    assert counted["none", "ok"] == 1
    assert counted["mtr", "ok"] == counted["stride", "ok"] == 2
    assert counted["random", "ok"] == 4
    dense = result.records[0].metrics
    for record in result.records:
        stored = json.loads((folder / "cells" / f"{record.key}.json").read_text())
        assert stored == record.as_json()
        if record.status != "ok":
            continue
        parts = sorted((folder / "shards" / record.key).glob("*.parquet"))
        assert [len(pd.read_parquet(part)) for part in parts] == [12, 12, 6]
        frame = pd.concat(map(pd.read_parquet, parts))
        assert frame.image.tolist() == list(range(30))
        assert record.metrics is not None
        assert record.metrics.top1 == np.mean(frame.prediction == frame.label_true)
        assert dense is not None
        assert record.metrics.dense_top1 == dense.top1
    assert dense is not None
    assert dense.agreement == 1
    assert dense.kl == 0
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["weights"] == {"vim_mini": None}
    assert environment["device"] == "cpu"
    dataset = json.loads((folder / "dataset.json").read_text())
    assert (dataset["images"], dataset["available"], dataset["selection"]) == (30, 30, "all")
    assert json.loads((folder / "analyses" / "headline.json").read_text())["headline"]


def test_terminal_and_page_mark_the_same_methods_as_no_better_than_a_blind_choice(
    small: Specs, tmp_path: Path
) -> None:
    result = run(small(methods=("mtr", "tome", "norm"), gallery=0), tmp_path)
    page = ReportData.of(load(tmp_path)).marks

    assert [(mark.backbone, mark.budget) for mark in result.blind] == [
        ("vim_mini", 0.3),
        ("vim_mini", 0.5),
    ]
    assert result.blind == list(page.values())
    assert {lead.label for mark in result.blind for lead in mark.leads} == {"mtr", "tome", "norm"}
    assert any(mark.not_shown for mark in result.blind)
    assert json.loads(json.dumps(result.summary()))["against_blind"] == [
        mark.record() for mark in result.blind
    ]


def test_each_image_is_decoded_once_for_all_cells_and_a_second_run_computes_nothing(
    small: Specs, decoded: Counter[int], content: Content, tmp_path: Path
) -> None:
    spec = small(gallery=0, budgets=(0.3,), seeds=1)
    run(spec, tmp_path)
    assert decoded == Counter(range(30))
    before = content(tmp_path)
    decoded.clear()
    run(spec, tmp_path)
    after = content(tmp_path)
    assert not decoded
    assert {name for name in before if before[name] != after[name]} <= {"environment.json"}
    assert before.keys() == after.keys()


def test_only_missing_shards_are_computed_and_come_out_the_same(
    small: Specs, decoded: Counter[int], content: Content, tmp_path: Path
) -> None:
    few = {"gallery": 0, "budgets": (0.3,), "methods": ("mtr", "stride"), "baselines": False}
    spec = small(**few, batch_size=7, shard_size=12)
    result = run(spec, tmp_path)
    before = content(tmp_path)
    mtr, stride = (
        next(r.key for r in result.records if r.method == name) for name in ("mtr", "stride")
    )
    (tmp_path / "shards" / mtr / "00001.parquet").unlink()
    shutil.rmtree(tmp_path / "cells")
    (tmp_path / "shards" / stride / "00002.parquet").unlink()
    (tmp_path / "tokens" / stride / "00002.parquet").unlink()
    decoded.clear()
    run(spec, tmp_path)
    assert decoded == Counter(range(12, 30))
    after = content(tmp_path)
    assert {name for name in before if before[name] != after.get(name)} <= {"environment.json"}


def test_batch_and_shard_sizes_do_not_change_what_is_found(small: Specs, tmp_path: Path) -> None:
    few = {"methods": ("mtr", "tome"), "budgets": (0.4,), "baselines": False, "gallery": 0}
    one = run(small(batch_size=30, shard_size=30, threads=1, **few), tmp_path / "one")
    other = run(small(batch_size=4, shard_size=7, threads=2, **few), tmp_path / "other")
    assert [(r.key, r.metrics) for r in one.records] == [(r.key, r.metrics) for r in other.records]


def test_a_run_killed_at_any_shard_goes_on_to_the_same_files(
    small: Specs, content: Content, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {"methods": ("stride",), "budgets": (0.3,), "baselines": False, "gallery": 1}
    run(small(**few), tmp_path / "whole")
    replaced, left = os.replace, 7

    def killed(source: Any, target: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        replaced(source, target)

    monkeypatch.setattr("suite.system.atomic_files.os.replace", killed)
    for attempt in range(100):
        left = 7 + attempt
        try:
            run(small(**few), tmp_path / "cut")
            break
        except KeyboardInterrupt:
            assert not list((tmp_path / "cut").rglob("*.tmp"))
    assert attempt > 3
    whole, cut = content(tmp_path / "whole"), content(tmp_path / "cut")
    assert whole.keys() == cut.keys()
    assert {name for name in whole if whole[name] != cut[name]} <= {"environment.json"}


def test_one_image_that_the_dense_model_cannot_read_fails_all_its_cells(
    small: Specs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = evaluate

    def ill(model: Any, tokens: Any, jobs: Any, observe: Any) -> Any:
        for job, logits in original(model, tokens, jobs, observe):
            assert not isinstance(logits, Failure)
            yield job, logits * torch.nan if not job.reducers and 17 in tokens.image else logits

    monkeypatch.setattr("suite.evaluation.runner.evaluate", ill)
    result = run(small(methods=("mtr",), baselines=False), tmp_path)
    reason = "logits are not finite (NaN or infinity)"
    assert [r.reason for r in result.records] == [
        reason,
        *[f"the dense model failed: {reason}"] * 2,
    ]


def test_a_folder_with_other_settings_is_refused(small: Specs, tmp_path: Path) -> None:
    run(small(budgets=(0.3,), methods=("mtr",), baselines=False), tmp_path)
    with pytest.raises(UserError, match="other settings"):
        run(small(budgets=(0.4,), methods=("mtr",), baselines=False), tmp_path)


def test_equal_compositions_are_computed_once_under_both_names(
    small: Specs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated: list[str] = []
    original = evaluate

    def spy(model: Any, tokens: Any, jobs: Any, observe: Any) -> Any:
        evaluated.extend(job.key for job in jobs)
        return original(model, tokens, jobs, observe)

    monkeypatch.setattr("suite.evaluation.runner.evaluate", spy)
    methods = (
        "mtr[weights=drop]",
        "mtr[feature=branch,weights=drop]",
        "mtr[score=random,weights=drop]",
        "random",
    )
    result = run(
        small(
            methods=methods,
            baselines=False,
            budgets=(0.3,),
            batch_size=30,
            shard_size=30,
            gallery=0,
        ),
        tmp_path,
    )
    labels = Counter(record.label for record in result.records)
    assert labels["mtr[weights=drop] = mtr[feature=branch,weights=drop]"] == 1
    assert labels["mtr[score=random,weights=drop] = random"] == 2
    # All on disk: those by equal counts of tokens, which have a table of their own, too.
    stored = Store(tmp_path).cells()
    assert Counter(evaluated) == Counter(r.key for r in stored if r.status == "ok")
    assert {record.role for record in stored} == {"asked", "tokens"}
    assert "random" in result.headline.resolution[0]["sentence"]


def test_what_cannot_be_done_is_skipped_with_its_reason(
    small: Specs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Vim, "provides", Vim.provides - {"delta_mean"})
    spec = small(methods=("tome", "mtr"), sites=(3,), budgets=(0.05, 0.6), baselines=False)
    result = run(spec, tmp_path)
    reasons = {(r.method, r.budget): (r.status, r.reason) for r in result.records}
    assert reasons["mtr", 0.05] == (
        "skipped",
        f"needs delta_mean; vim_mini has none: {OTHER_TRACE}",
    )
    assert reasons["tome", 0.05] == ("ok", None)
    status, reason = reasons["tome", 0.6]
    assert status == "skipped"
    assert "at most" in reason
    assert not result.failures
    assert reports.build(tmp_path).exists()


def test_cells_of_code_that_changed_are_forgotten(small: Specs, tmp_path: Path) -> None:
    spec = small(budgets=(0.3,), methods=("mtr",), baselines=False, gallery=0)
    result = run(spec, tmp_path)
    stale = {**result.records[1].as_json(), "key": "0123456789abcdef"}
    (tmp_path / "cells" / "0123456789abcdef.json").write_text(json.dumps(stale))
    run(spec, tmp_path)
    assert {file.stem for file in (tmp_path / "cells").iterdir()} == {
        record.key for record in (*result.records, *result.further)
    }


Wrap = Callable[[Reducer], Reducer]


class Poisoned:
    """A reducer that does its work and then does `harm` to one batch."""

    def __init__(self, inner: Reducer, harm: Callable[[TokenSequence], TokenSequence]) -> None:
        self.inner, self.harm, self.needs = inner, harm, inner.needs

    def __call__(self, tokens: TokenSequence) -> TokenSequence:
        return self.harm(self.inner(tokens))


def poison(
    monkeypatch: pytest.MonkeyPatch, method: str, harm: Callable[[TokenSequence], TokenSequence]
) -> None:
    """Let every reducer of `method` do harm."""
    original = Cell.reducers

    def reducers(cell: Cell) -> dict[int, Reducer]:
        found = original(cell)
        return (
            {s: Poisoned(r, harm) for s, r in found.items()}
            if cell.method.name == method
            else found
        )

    monkeypatch.setattr(Cell, "reducers", reducers)


def to_nan(tokens: TokenSequence) -> TokenSequence:
    return replace(tokens, residual=tokens.residual * torch.nan) if 17 in tokens.image else tokens


def to_error(tokens: TokenSequence) -> TokenSequence:
    if 17 in tokens.image:
        raise ZeroDivisionError("no such thing")
    return tokens


# the line that raises is the second of the function's body
WHERE = f"{Path(__file__).name}:{to_error.__code__.co_firstlineno + 2}"


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (to_nan, "logits are not finite (NaN or infinity)"),
        (to_error, f"ZeroDivisionError at site 1: no such thing ({WHERE}, in to_error)"),
    ],
)
def test_a_cell_that_fails_leaves_the_others_as_they_are(
    small: Specs,
    finished: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    harm: Any,
    reason: str,
) -> None:
    few = {"budgets": (0.4,), "baselines": False, "gallery": 1}
    sound = {record.key: record for record in Store(finished("sound", **few)).cells()}
    poison(monkeypatch, "tome", harm)
    result = run(small(**few), tmp_path / "ill")
    assert {r.method for r in result.records if r.status == "failed"} == {"tome"}
    assert set(result.failures.values()) == {reason}
    for after in result.records:
        before = sound[after.key]
        if after.method == "tome" and before.status == "ok":
            assert (after.status, after.reason, after.metrics) == ("failed", reason, None)
        else:
            assert after == before
    assert reports.build(tmp_path / "ill").exists()


def test_with_the_dense_model_all_its_cells_fail(
    small: Specs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readout = Vim.readout
    monkeypatch.setattr(Vim, "readout", lambda self, tokens: readout(self, tokens) * torch.nan)
    result = run(small(budgets=(0.3,), seeds=1), tmp_path)
    assert {record.status for record in result.records} <= {"failed", "skipped"}
    assert all("logits are not finite" in reason for reason in result.failures.values())
    assert "No method was compared" in result.headline.headline


def test_a_run_without_reduced_cells_still_ends_in_a_report(small: Specs, tmp_path: Path) -> None:
    result = run(small(baselines=False, methods=("none",)), tmp_path)
    assert [r.method for r in result.records if r.status == "ok"] == ["none"]
    assert reports.build(tmp_path).exists()


def test_untrained_weights_are_the_same_in_every_run(small: Specs, tmp_path: Path) -> None:
    found = [
        run(small(methods=("none",), baselines=False, gallery=0), tmp_path / name)
        for name in ("a", "b")
    ]
    assert found[0].records == found[1].records


def test_the_command_and_weights_are_on_record(
    small: Specs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["suite", "compare", "--methods", "mtr,tome[order=appended]"])
    run(small(methods=("none",), baselines=False, gallery=0), tmp_path)
    command = json.loads((tmp_path / "environment.json").read_text())["command"]
    assert command == "python -m suite compare --methods 'mtr,tome[order=appended]'"

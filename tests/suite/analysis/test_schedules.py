"""Methods under every schedule: accuracies are those of runs under it, whatever answered for them."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from methods.base import SCHEDULES
from suite.analysis.headline import Headline
from suite.analysis.schedule_answers import Answers, MethodAnswers
from suite.analysis.schedules import verdicts_on
from suite.cli.compare import show
from suite.comparison import Result, run_comparison
from suite.config.run_spec import RunSpec
from suite.stats import blind_baselines, schedule_words
from suite.stats.hits import Hits
from suite.stats.schedule_words import pair_words
from suite.stats.schedules import read_schedules_table
from suite.store.run_folder import Store
from suite.terminal.findings import print_findings

Specs = Callable[..., RunSpec]
ALONE: dict[str, Any] = {"budgets": (0.4,), "gallery": 0, "seeds": 1}
LABELS = ["mtr", "tome", "random", "stride", "pool"]
OTHER = "one-shot"  # a schedule of which this budget cannot be met by all


def table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(folder / "analyses" / f"{name}.parquet")


@pytest.fixture
def across(finished: Callable[..., Path]) -> Path:
    """A run that evaluates its methods under every schedule."""
    return finished("across", **ALONE, across_schedules=True)


def test_accuracies_are_those_of_runs_under_each_schedule(
    across: Path, small: Specs, tmp_path: Path
) -> None:
    rows = table(across, "schedule_accuracy")
    assert list(rows["label"].unique()) == LABELS
    assert (rows["source"].unique(), rows["images"].unique()) == (["run"], [30])
    alone = run_comparison(small(**ALONE, schedule=OTHER), tmp_path / OTHER, quiet=True)
    expected = {r.label: r.metrics.top1 if r.metrics else r.reason for r in alone.records}
    for row in rows[rows["schedule"] == OTHER].itertuples():
        assert expected[row.label] == (row.reason or row.top1)
    # here a method misses the budget under a schedule
    assert 0 < (rows["reason"] != "").sum() < 5


def test_a_table_of_tries_gives_the_same_verdicts_and_nothing_is_evaluated_for_them(
    across: Path, as_tries: Callable[[Path, Path], Path], small: Specs, tmp_path: Path
) -> None:
    path = as_tries(across, tmp_path / "tries.parquet")
    tried = {"tries": str(path), "across_schedules": True, "schedule": "constant-ratio"}
    spec = small(**ALONE, **tried)
    answered = run_comparison(spec, tmp_path / "answered", quiet=True)
    assert "schedule" not in {record.role for record in answered.further}
    (one,), (other,) = read_schedules_table(table(across, "schedules")), answered.schedules
    assert (other.source, other.split) == ("table", "test")
    assert other.orders == one.orders
    accuracies = table(tmp_path / "answered", "schedule_accuracy")
    same = ["label", "schedule", "top1", "top1_low", "top1_high", "reason"]
    pd.testing.assert_frame_equal(
        accuracies[same], table(across, "schedule_accuracy")[same], check_dtype=False
    )
    picked = accuracies.dropna(subset=["picked_window"])
    assert picked[["label", "schedule", "picked_window"]].values.tolist() == [["mtr", "rising", 4]]
    # what was said is in every output
    record = answered.summary()["schedules"][0]
    assert record["source"] == "table"
    said = [f"{pair_words(order)}." for order in other.orders]
    assert [pair["sentence"] for pair in record["pairs"]] == said
    assert answered.headline.schedules


def test_the_terminal_says_what_was_found_and_of_many_pairs_in_a_table(
    across: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    verdicts = read_schedules_table(table(across, "schedules"))
    words = json.loads((across / "analyses" / "headline.json").read_text())
    cells = [record for record in Store(across).cells() if record.shown]
    result = Result(cells, [], Headline(**words), {}, [], [], verdicts)
    print_findings(show(result, across, None), verbose=True)
    out = " ".join(capsys.readouterr().out.split())
    assert words["schedules"]
    assert words["blind"]
    assert all(sentence in out for sentence in (*words["schedules"], *words["blind"]))
    assert "order under equal schedules" not in out
    # What a sentence rests on is said in it, but for the two rules.
    rules = {schedule_words.RULE, blind_baselines.RULE}
    for sentence in {*words["schedules"], *words["blind"], words["headline"]} - rules:
        assert re.search(r"\d+ test images\b", sentence), sentence
        assert re.search(r"-40 % FLOPs|40 % of FLOPs removed", sentence), sentence
    assert rules < {*words["schedules"], *words["blind"]}
    orders = [replace(order, baseline="") for order in verdicts[0].orders]
    many = replace(result, schedules=[replace(verdicts[0], orders=tuple(orders))])
    print_findings(show(many, across, None))
    assert "order under equal schedules" not in capsys.readouterr().out
    print_findings(show(many, across, None), verbose=True)
    out = " ".join(capsys.readouterr().out.split())
    assert "order under equal schedules, vim_mini at -40 % FLOPs, 30 test images" in out


def test_a_run_that_was_told_not_to_has_no_verdicts(small: Specs, tmp_path: Path) -> None:
    result = run_comparison(small(**ALONE, across_schedules=False), tmp_path / "run", quiet=True)
    assert result.schedules == []
    assert not (tmp_path / "run" / "analyses" / "schedules.parquet").exists()


def test_an_ablation_of_the_schedule_answers_from_its_own_cells(
    small: Specs, tmp_path: Path
) -> None:
    spec = small(**ALONE, axes=("schedule",), baselines=False)
    result = run_comparison(spec, tmp_path / "run", quiet=True)
    rows = table(tmp_path / "run", "schedule_accuracy")
    settings = table(tmp_path / "run", "ablation")
    for row in rows.itertuples():
        own = settings[settings["method"] == row.label]
        words = own["setting"].str.split(", ")
        (top1,) = own["top1"][[f"schedule={row.schedule}" in names for names in words]]
        assert row.reason or row.top1 == top1
    assert len(rows) == 2 * len(SCHEDULES)
    (verdicts,) = result.schedules
    assert [(order.method, order.other) for order in verdicts.orders] == [("mtr", "tome")]


def method(
    label: str, hits: list[int], asked: bool = True, blind: bool = False, baseline: bool = False
) -> MethodAnswers:
    """A method that is right on `hits` of 100 images, a number for each schedule."""
    under = {}
    for name, count in zip(SCHEDULES, hits, strict=True):
        under[name] = Hits(label, np.arange(100)[None] < count, np.arange(100), 0.4)
    return MethodAnswers(label, asked, blind or baseline, blind, 0, None, under)


def test_every_pair_of_few_methods_is_judged_and_of_many_those_with_the_reference() -> None:
    blind = [method(name, [10] * 6, asked=False, blind=True) for name in ("random", "pool")]
    few = [method(name, [50] * 6) for name in "abc"]
    verdicts = verdicts_on(Answers("vim_nano", 0.4, "run", "dev", (*few, *blind)))
    assert [(o.method, o.other) for o in verdicts.methods] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert len(verdicts.blind) == 6
    many = [
        replace(method("stride", [50] * 6, baseline=True), blind=True),
        method("norm", [50] * 6, baseline=True),
        *(method(n, [50] * 6) for n in "abcde"),
    ]
    verdicts = verdicts_on(Answers("vim_nano", 0.4, "run", "dev", (*many, *blind)))
    pairs = [{order.method, order.other} for order in verdicts.orders if order.baseline != "stride"]
    # the first that is no baseline is the reference, here as elsewhere
    assert pairs[:5] == [{"a", other} for other in ("norm", *"bcde")]
    assert len(pairs) == 5 + 6 * len(blind)
    assert verdicts.pair("stride", "a") is not None


def test_the_blind_one_of_a_pair_is_known_whoever_is_ahead() -> None:
    methods = (method("mtr", [20] * 6), method("random", [60] * 6, asked=False, blind=True))
    (order,) = verdicts_on(Answers("vim_nano", 0.4, "run", "dev", methods)).orders
    assert (order.method, order.other, order.baseline) == ("random", "mtr", "random")
    assert order.verdict == "holds"


def test_an_order_cannot_depend_on_schedules_that_are_all_one() -> None:
    alike = dict.fromkeys(SCHEDULES, ("cell",))
    apart = {**alike, SCHEDULES[-1]: ("other",)}
    one, two = method("mtr", [90] * 6), method("tome", [20] * 6)
    for keys, judged in ((alike, 0), (apart, 1), ({}, 1)):
        methods = replace(one, keys=keys), replace(two, keys=keys)
        assert len(verdicts_on(Answers("vim_nano", 0.4, "run", "dev", methods)).orders) == judged

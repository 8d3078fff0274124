"""Sweeps: every combination as if it ran alone; errors are raised before anything runs."""

import json
import re
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from backbones.common.errors import UserError
from suite.cli import run
from suite.config.run_spec import RunSpec
from suite.config.spec_file import build_spec, read_spec
from suite.config.sweep import Experiment, combinations, sweep_of

Out = pytest.CaptureFixture[str]
MINI = [
    *("--backbones", "vim_mini", "--checkpoint", "random", "--data", "blots", "--images", "12"),
    *("--gallery", "0", "--threads", "1", "--budgets", "0.3"),
]
VALUES: dict[str, list[Any]] = {
    "schedule": ["rising", "falling", "one-shot"],
    "batch_size": [1, 2, 64],
    "images": [20, "all"],
    "methods": [["mtr"], ["tome", "mtr[score=b]"]],
    "baselines": [True, False],
    "sites": [None, [2, 4]],
}


def alternatives(fields: Iterable[str]) -> st.SearchStrategy[dict[str, list[Any]]]:
    lists = {}
    for name in fields:
        lists[name] = st.lists(st.sampled_from(VALUES[name]), min_size=1, unique_by=str)
    return st.fixed_dictionaries(lists)


fields = st.dictionaries(st.sampled_from(sorted(VALUES)), st.just(None), min_size=1)


@given(fields.flatmap(alternatives))
def test_every_combination_once(sweep: dict[str, list[Any]]) -> None:
    base = RunSpec(seeds=2)
    found = [spec for _, spec in combinations(base, sweep)]
    want = [
        build_spec(seeds=2, **dict(zip(sweep, chosen, strict=True)))
        for chosen in product(*sweep.values())
    ]
    assert found == list(dict.fromkeys(want))
    assert len({spec.default_name() for spec in found}) == len(found)


def test_a_file_and_the_command_line_say_the_same(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    sweep = {
        "schedule": ["rising", "falling"],
        "methods": ["mtr", ["tome[order=appended]", "utr"]],
        "sites": [None],
    }
    path.write_text(yaml.safe_dump({"sweep": sweep, "seeds": 1}))
    found = sweep_of(["schedule=one-shot,every-2", "batch_size=2"], path)
    assert found == {
        "schedule": ["one-shot", "every-2"],
        "methods": [["mtr"], ["tome[order=appended]", "utr"]],
        "sites": [None],
        "batch_size": [2],
    }
    assert sweep_of(["methods=mtr,tome[order=appended,score=b]", "sites=[2,4],null"], None) == {
        "methods": [["mtr"], ["tome[order=appended,score=b]"]],
        "sites": [[2, 4], None],
    }


def test_a_sweep_takes_old_names_of_settings(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump({"sweep": {"batch": [1, 2]}}))
    assert sweep_of(["shard=3,4"], path) == {"batch_size": [1, 2], "shard_size": [3, 4]}


WRONG = [
    ("precision=fp32,fp23", "sweep: precision.1: must be 'fp32', 'tf32', 'fp64' or 'bf16'"),
    ("schedul=rising", "sweep: unknown setting 'schedul': did you mean schedule"),
    ("schedule", "--sweep takes FIELD=ONE,OTHER, not 'schedule'"),
    ("batch_size=8,0", "sweep: batch_size.1: must be greater than or equal to 1"),
    ("images=-1", "images: must be a whole number from 1 on"),
    ("images=", "sweep.images: must be a list of alternatives"),
    ("schedule=rising,slow", "sweep .schedule=slow.: unknown schedule 'slow'"),
    ("methods=mtr,tomee", "sweep .methods=tomee.: unknown method 'tomee'"),
    ("precision=fp32,bf16", "sweep .precision=bf16.: bf16 is for CUDA"),
    ("sites=[1],[77]", "sweep .sites=77.: "),
]


@pytest.mark.parametrize(("text", "reason"), WRONG, ids=[text for text, _ in WRONG])
def test_nothing_runs_when_one_combination_is_wrong(
    text: str, reason: str, small: Any, tmp_path: Path, capsys: Out
) -> None:
    runs = tmp_path / "runs"
    assert run(["compare", *MINI, "--device", "cpu", "--runs", str(runs), "--sweep", text]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert re.search(reason, told.err)
    assert not runs.exists()


def test_a_file_is_named_with_the_key_that_is_wrong(
    small: Any, tmp_path: Path, capsys: Out
) -> None:
    path = tmp_path / "e.yaml"
    for sweep, reason in (
        ({"batch_size": [1, "x"]}, "sweep: batch_size.1: "),
        (["batch_size"], "sweep: must be a mapping"),
    ):
        path.write_text(yaml.safe_dump({"sweep": sweep}))
        assert run(["plan", *MINI, "--config", str(path)]) == 2
        assert capsys.readouterr().err.startswith(f"error: {path}: {reason}")


def test_each_combination_is_a_run_and_all_are_one_table(
    small: Any, tmp_path: Path, capsys: Out
) -> None:
    path = tmp_path / "e.yaml"
    path.write_text(
        yaml.safe_dump({"sweep": {"schedule": ["constant-ratio", "rising"]}, "baselines": False})
    )
    line = [
        "compare",
        *MINI,
        "--methods",
        "mtr",
        "--config",
        str(path),
        "--runs",
        str(tmp_path / "runs"),
        "--no-report",
    ]
    assert run([*line, "--name", "s"]) == 0
    told = capsys.readouterr().out
    folders = [tmp_path / "runs" / f"s-schedule-{name}" for name in ("constant-ratio", "rising")]
    assert [read_spec(folder / "spec.yaml", RunSpec).schedule for folder in folders] == [
        "constant-ratio",
        "rising",
    ]
    (merged,) = (tmp_path / "runs").glob("merged-*")
    labels = set(pd.read_parquet(merged / "analyses" / "statistics.parquet").label)
    assert labels == {"none", "mtr", "mtr@rising"}
    assert told.index("\n mtr ") < told.index("\n mtr@rising ")
    assert f"results of all: {merged}" in told
    assert run([*line, "--name", "s", "--json"]) == 0  # goes on where it stood: all is there
    document = json.loads(capsys.readouterr().out)
    assert [row["exit"] for row in document["runs"]] == [0, 0]
    assert [Path(row["run"]) for row in document["runs"]] == folders
    assert document["runs"][1]["result"]["cells"][1]["label"] == "mtr"
    assert document["merged"]["run"] == str(merged)


def test_what_cannot_be_compared_stays_apart(small: Any, tmp_path: Path, capsys: Out) -> None:
    line = [
        "compare",
        *MINI,
        "--methods",
        "mtr",
        "--no-baselines",
        "--runs",
        str(tmp_path),
        "--no-report",
    ]
    assert run([*line, "--sweep", "precision=fp32,fp64"]) == 0
    assert "not merged: " in (told := capsys.readouterr().out)
    assert "the precision is fp32 in the first and fp64 in the second" in " ".join(told.split())


def test_plan_shows_a_sweep_and_runs_nothing(
    small: Any, tmp_path: Path, monkeypatch: Any, capsys: Out
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["plan", *MINI, "--methods", "mtr", "--sweep", "schedule=rising,falling"]) == 0
    told = capsys.readouterr().out
    assert told.index("--- schedule=rising") < told.index("--- schedule=falling")
    assert list(tmp_path.iterdir()) == []


def test_the_schema_knows_sweeps(capsys: Out) -> None:
    assert run(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert set(RunSpec.model_fields) - {"version"} == set(schema["$defs"]["Sweep"]["properties"])
    with pytest.raises(UserError, match="unknown setting 'sweep'"):
        build_spec(sweep={})
    assert Experiment.model_validate(
        {"sweep": {"batch_size": [1, 2], "methods": ["mtr", ["tome", "utr"]]}}
    )


def test_a_spec_has_no_sweep(small: Callable[..., RunSpec]) -> None:
    assert "sweep" not in small().model_dump()

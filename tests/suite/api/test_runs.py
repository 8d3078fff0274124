"""`suite.load` and `suite.compare`: what the command stored, as tables."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import suite
from reports.export import COLUMNS
from suite.store.schema import CLASSIFICATION, TABLES


@pytest.fixture(scope="module")
def run(finished: Callable[..., Path]) -> suite.Run:
    return suite.load(finished("api", methods=("mtr", "tome", "random"), gallery=0))


def test_tables_have_the_documented_columns(run: suite.Run) -> None:
    assert list(run.cells.columns) == list(COLUMNS)
    assert set(TABLES["statistics"].columns) <= set(run.statistics.columns)
    outcomes = run.outcomes("mtr", budget=0.3)
    assert list(outcomes.columns) == list(CLASSIFICATION.outcomes)
    assert outcomes["image"].tolist() == list(range(30))
    assert repr(run) == "Run(api: mtr, random, tome on vim_mini, 30 images of blots)"
    assert "vim_mini" in run.headline


def test_outcomes_are_those_of_the_cell(run: suite.Run) -> None:
    for cell in run.cells[run.cells["role"] == "asked"].to_dict("records"):
        if cell["method"] == "none":
            outcomes = run.outcomes("dense")
        elif cell["status"] == "ok":
            outcomes = run.outcomes(cell["label"], cell["budget"], "vim_mini", cell["seed"])
        else:
            continue
        right = outcomes["prediction"] == outcomes["label_true"]
        assert right.mean() == pytest.approx(cell["top1"])


def test_two_methods_compare_as_in_the_statistics(run: suite.Run) -> None:
    rows = run.statistics
    row = rows[(rows["label"] == "random") & (rows["budget"] == 0.3)].iloc[0]
    found = run.compare("random", row["reference"], budget=0.3)
    assert (found.accuracy, found.difference, found.p) == pytest.approx(
        (row["top1"], row["difference"], row["p"])
    )
    assert found.difference_low <= found.difference <= found.difference_high
    assert found.p_holm is None
    assert str(found).startswith("random ")
    assert "points" in str(found)


WRONG = {
    "several budgets .0.3, 0.5.: name one, budget=": {},
    "no method 'tom' in this run on vim_mini: did you mean tome": {"method": "tom", "budget": 0.3},
    "no budget 0.4 in this run: it has 0.3, 0.5": {"budget": 0.4},
    "no backbone 'deit' in this run: known: vim_mini": {"backbone": "deit", "budget": 0.3},
    "no seed 2 in this run: it has 0, 1": {"method": "random", "budget": 0.3, "seed": 2},
    "tome on vim_mini was skipped: cannot remove": {"method": "tome", "budget": 0.5},
}


@pytest.mark.parametrize("message", WRONG)
def test_what_is_not_there_is_one_line(run: suite.Run, message: str) -> None:
    with pytest.raises(suite.UserError, match=message) as error:
        run.outcomes(**({"method": "mtr"} | WRONG[message]))
    assert "\n" not in str(error.value)


def test_a_folder_that_is_no_run_names_those_that_are(run: suite.Run, tmp_path: Path) -> None:
    with pytest.raises(suite.UserError, match=r"give one that is there, such as .*api"):
        suite.load(run.folder.parent / "never-run")
    with pytest.raises(suite.UserError, match="no run folder"):
        suite.load(tmp_path / "nothing")


def test_a_run_from_python_is_the_commands(
    small: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {
        "backbones": "vim_mini", "checkpoint": "random", "data": "blots", "images": 12, "methods": "mtr,tome[weights=mean]",
        "budgets": 0.3, "baselines": False, "across_schedules": False, "gallery": 0, "device": "cpu", "threads": 1,
    }  # fmt: skip
    run = suite.compare(**settings, runs=tmp_path, report=False)
    assert capsys.readouterr().out == ""
    assert run.folder.parent == tmp_path
    assert run.folder.name.startswith("vim_mini-blots-test-12-")
    assert run.compare("mtr", "tome[weights=mean]").images == 12
    # the same settings are the same run, which is not repeated
    again = suite.compare(**run.spec, runs=tmp_path, report=False)
    assert again.folder == run.folder
    pd.testing.assert_frame_equal(again.outcomes("mtr"), run.outcomes("mtr"))
    with pytest.raises(suite.UserError, match="holds a run with other settings"):
        suite.compare(**settings | {"images": 9}, name=run.folder.name, runs=tmp_path)
    with pytest.raises(suite.UserError, match="unknown setting 'budget': did you mean budgets"):
        suite.compare(budget=0.4)
    with pytest.raises(suite.UserError, match="not the name of one folder"):
        suite.compare(**settings, name="../x", runs=tmp_path)


def test_cells_that_fail_are_warned_of(
    small: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from methods.reducer import Reducer

    def failing(self: Any, tokens: Any) -> Any:
        raise RuntimeError("no more")

    monkeypatch.setattr(Reducer, "__call__", failing)
    with pytest.warns(UserWarning, match=r"cells that failed: 1 \(RuntimeError .*no more"):
        run = suite.compare(
            backbones="vim_mini", checkpoint="random", data="blots", images=6, methods="mtr", budgets=0.3,
            baselines=False, across_schedules=False, gallery=0, device="cpu", runs=tmp_path, report=False,
        )  # fmt: skip
    assert set(run.cells["status"]) == {"ok", "failed"}

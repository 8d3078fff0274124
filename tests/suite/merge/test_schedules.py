"""The methods of two runs under every schedule are compared as if one run had them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from backbones.common.errors import UserError
from suite.config.run_spec import RunSpec
from suite.merge import merge

Finished = Callable[..., Path]
ALONE: dict[str, Any] = {"budgets": (0.4,), "gallery": 0, "seeds": 1, "across_schedules": True}
FEW = ALONE | {"images": 12}
TABLES = ("schedules", "schedule_accuracy")


@pytest.fixture(autouse=True)
def _registered(small: Callable[..., RunSpec]) -> None:
    """The small backbone and data set are known."""


def frame(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(folder / "analyses" / f"{name}.parquet")


def findings(folder: Path) -> Any:
    return json.loads((folder / "analyses" / "headline.json").read_text())


def test_halves_say_what_the_whole_run_says(finished: Finished, tmp_path: Path) -> None:
    halves = [finished(f"across-{m}", **FEW, methods=(m,)) for m in ("mtr", "tome")]
    whole = finished("across", **FEW)
    folder, _ = merge(halves, tmp_path / "merged")
    for name in TABLES:
        pd.testing.assert_frame_equal(frame(folder, name), frame(whole, name))
    assert findings(folder)["headline"] == findings(whole)["headline"]
    assert findings(folder)["schedules"] == findings(whole)["schedules"]
    assert "mtr" in findings(whole)["schedules"][0]
    assert "tome" in findings(whole)["schedules"][0]


@pytest.mark.slow
def test_answers_of_a_bundled_table_are_read_from_it(
    finished: Finished,
    as_tries: Callable[[Path, Path], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = finished("across", **ALONE)
    path = as_tries(whole, tmp_path / "tries-vim_mini.parquet")
    halves = []
    for method in ("mtr", "tome"):
        spec = ALONE | {"tries": str(path), "schedule": "staged", "methods": (method,)}
        half = shutil.copytree(finished(f"tried-{method}", **spec), tmp_path / method)
        halves.append(Path(half))
    monkeypatch.setattr("suite.merge.schedules.tables", lambda: [path])
    folder, _ = merge(halves, tmp_path / "merged")
    assert set(frame(folder, "schedules")["source"]) == {"table"}
    same = ["method", "other", "schedule", "state", "verdict", "p_holm"]
    pd.testing.assert_frame_equal(frame(folder, "schedules")[same], frame(whole, "schedules")[same])
    # a user's own table is not searched for, and nothing is said without it
    monkeypatch.setattr("suite.merge.schedules.tables", lambda: [])
    folder, _ = merge(halves, tmp_path / "again")
    assert not (folder / "analyses" / "schedules.parquet").exists()


def test_a_table_without_a_column_is_one_line(finished: Finished, tmp_path: Path) -> None:
    halves = []
    for method in ("mtr", "tome"):
        run = shutil.copytree(
            finished(f"across-{method}", **FEW, methods=(method,)), tmp_path / method
        )
        halves.append(Path(run))
    path = halves[1] / "analyses" / "schedule_accuracy.parquet"
    pd.read_parquet(path).drop(columns="keys").to_parquet(path)
    with pytest.raises(UserError, match="lacks keys: run its command again"):
        merge(halves, tmp_path / "merged")

"""The schema names what is really written: columns of every table, fields of every record."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from backbones.common.errors import UserError
from suite.comparison import run_comparison
from suite.config.run_spec import RunSpec
from suite.evaluation.outcomes import COLUMNS
from suite.store.schema import (
    CLASSIFICATION,
    MEANINGS,
    TABLES,
    CellRecord,
    ClassificationMetrics,
    described,
    read_record,
)

Specs = Callable[..., RunSpec]


def test_every_column_and_field_has_one_meaning() -> None:
    for name, table in TABLES.items():
        assert table.row, name
        assert set(table.columns) <= set(MEANINGS), name
    texts = [*MEANINGS.values(), *described(CellRecord).values()]
    texts += [*described(ClassificationMetrics).values(), *CLASSIFICATION.outcomes.values()]
    assert all(texts)
    assert list(CLASSIFICATION.outcomes) == list(COLUMNS)


@pytest.mark.parametrize(
    "changed", [{}, {"axes": ("size",)}, {"backbones": ("vim_mini", "deit_mini")}]
)
def test_a_run_writes_the_tables_of_the_schema(
    small: Specs, tmp_path: Path, changed: dict[str, tuple[str, ...]]
) -> None:
    methods = ("mtr",) if "axes" in changed else ("mtr", "tome", "utr", "delta")
    quick = {"budgets": (0.3,), "images": 12, "seeds": 1, "gallery": 1}
    spec = small(methods=methods, **quick, **changed)
    result = run_comparison(spec, tmp_path, quiet=True)
    written = {path.stem for path in (tmp_path / "analyses").glob("*.parquet")}
    assert written >= {"statistics", "kept_tokens", "first_errors", "gallery", "images"}
    for name in written:
        columns = pd.read_parquet(tmp_path / "analyses" / f"{name}.parquet").columns
        assert set(columns) == set(TABLES[name].columns), name
    for record in result.records:
        assert read_record(tmp_path / "cells" / f"{record.key}.json") == record
        shards = (tmp_path / "shards" / record.key).glob("*.parquet")
        for shard in shards:
            assert list(pd.read_parquet(shard).columns) == list(CLASSIFICATION.outcomes)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"seed": "0"}, "seed: input should be a valid integer"),
        ({"metrics": {"top1": 0.5}}, "metrics.top5: field required"),
        ({"key": "f" * 16}, "is the record of cell"),
        ({"metrics": None}, "says ok and has no figures"),
    ],
)
def test_a_record_that_was_changed_is_refused(
    small: Specs, tmp_path: Path, changed: dict[str, object], reason: str
) -> None:
    spec = small(methods=("none",), baselines=False, images=6, gallery=0)
    run_comparison(spec, tmp_path, quiet=True)
    (path,) = (tmp_path / "cells").glob("*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    with pytest.raises(UserError, match=reason):
        read_record(path)

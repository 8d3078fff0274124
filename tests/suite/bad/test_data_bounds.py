"""Parquet files that ask for more than there is."""

from pathlib import Path

import pytest
from bad_data import named, png, table

from backbones.common.errors import UserError
from suite.data import open_dataset
from suite.data.images import parquet


def test_metadata_nested_too_deep_is_no_metadata(tmp_path: Path) -> None:
    data = open_dataset(named("[" * 100_000)(tmp_path))
    assert data.classes == ("0", "1", "2")


def test_a_row_group_that_fills_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = table(image=[png()] * 50, label=[0] * 50)(tmp_path)
    monkeypatch.setattr(parquet, "MAX_BYTES", 100)
    with pytest.raises(
        UserError, match=r"a\.parquet has a row group of [\d,]+ bytes: write it anew"
    ):
        open_dataset(spec)
    monkeypatch.undo()
    monkeypatch.setattr(parquet, "MAX_ROWS", 49)
    with pytest.raises(UserError, match=r"a\.parquet states 50 rows: split it"):
        open_dataset(spec)

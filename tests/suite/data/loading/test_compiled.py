from pathlib import Path

import pytest

from suite.data.loading.compiled import compiled


def add(left: int, right: int) -> int:
    return left + right


def test_compiles_even_where_no_cache_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    assert compiled(add)(2, 3) == 5
    assert list((tmp_path / "cache").rglob("*.nbc"))
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file"))
    assert compiled(add)(2, 3) == 5

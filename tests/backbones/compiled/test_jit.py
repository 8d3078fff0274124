"""numba keeps machine code where it is told to, and nowhere where it cannot."""

import errno
from pathlib import Path
from typing import Any

import numba
import pytest

from backbones.compiled.jit import cache_directory, config


def test_a_place_that_cannot_be_written_only_costs_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = config.CACHE_DIR
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file"))
    with cache_directory(tmp_path) as writable:
        assert not writable
        assert before == config.CACHE_DIR
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "new"))
    with cache_directory(tmp_path) as writable:
        assert writable
        assert Path(config.CACHE_DIR).is_relative_to(tmp_path / "new")
    assert before == config.CACHE_DIR


def add(left: int, right: int) -> int:
    return left + right


def test_a_full_disk_costs_the_cache_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: object, *_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("numba.core.caching.IndexDataCacheFile.save", full)
    with cache_directory(tmp_path) as writable:
        assert numba.njit(cache=writable)(add)(2, 3) == 5
        assert ctypes_result(numba.cfunc("int64(int64, int64)", cache=writable)(add)) == 5


def ctypes_result(compiled: Any) -> int:
    return compiled.ctypes(2, 3)


def test_a_damaged_cache_is_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    for content in (None, b"", b"not pickled", b"\x80\x04N."):
        if content is not None:
            files = [*tmp_path.rglob("*.nbi"), *tmp_path.rglob("*.nbc")]
            assert files
            for file in files:
                file.write_bytes(content)
        with cache_directory(tmp_path) as writable:
            assert numba.njit(cache=writable)(add)(2, 3) == 5

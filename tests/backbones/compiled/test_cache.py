"""Machine code is known by its sources, and is seen to be there without being loaded."""

import subprocess
import sys
from pathlib import Path

import pytest

from backbones.compiled import cache


def test_a_place_that_cannot_be_written_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file"))
    assert cache.cache_folder(tmp_path) is None
    assert not cache.is_kept(tmp_path / "kernel.py")


def test_a_change_in_a_kernels_folder_makes_new_machine_code(tmp_path: Path) -> None:
    (tmp_path / "kernel.py").write_text("one")
    before = cache._digest(tmp_path)
    (tmp_path / "kernel.py").write_text("two")
    cache._digest.cache_clear()
    assert cache._digest(tmp_path) != before


def test_what_was_compiled_from_a_file_is_seen_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    assert not cache.is_kept(tmp_path / "kernel.py")
    folder = cache.cache_folder(tmp_path)
    assert folder is not None
    (folder / "place_1").mkdir()
    (folder / "place_1" / "kernel._entry-50.py311.nbi").touch()
    assert cache.is_kept(tmp_path / "kernel.py")
    assert not cache.is_kept(tmp_path / "other.py")


def test_to_look_and_to_begin_imports_nothing_that_takes_long() -> None:
    code = (
        "import suite.cli.compare, methods.fused, sys; "
        "assert not {'torch', 'numba', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

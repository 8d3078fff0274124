"""Machine code is kept where it can be, and known by its sources."""

from pathlib import Path

import pytest

from backbones.compiled import native
from backbones.compiled.jit import config


def test_a_place_that_cannot_be_written_only_costs_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = tmp_path / "file"
    taken.write_text("not a folder")
    monkeypatch.setattr(config, "CACHE_DIR", str(taken))
    with native._cache_directory(tmp_path) as writable:
        assert not writable
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "new"))
    with native._cache_directory(tmp_path) as writable:
        assert writable
        assert Path(config.CACHE_DIR).is_dir()
    assert str(tmp_path / "new") == config.CACHE_DIR


def test_a_change_in_a_kernels_folder_makes_new_machine_code(tmp_path: Path) -> None:
    (tmp_path / "kernel.py").write_text("one")
    before = native._digest(tmp_path)
    (tmp_path / "kernel.py").write_text("two")
    native._digest.cache_clear()
    assert native._digest(tmp_path) != before

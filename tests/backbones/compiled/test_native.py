"""numba keeps machine code where it is told to, and nowhere where it cannot."""

from pathlib import Path

import pytest

from backbones.compiled import native
from backbones.compiled.jit import config


def test_a_place_that_cannot_be_written_only_costs_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = config.CACHE_DIR
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file"))
    with native._cache_directory(tmp_path) as writable:
        assert not writable
        assert before == config.CACHE_DIR
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "new"))
    with native._cache_directory(tmp_path) as writable:
        assert writable
        assert Path(config.CACHE_DIR).is_relative_to(tmp_path / "new")
    assert before == config.CACHE_DIR

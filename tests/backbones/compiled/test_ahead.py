"""A kernel compiled by another process is there when it is asked for; what goes wrong there is nobody's trouble."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from backbones.compiled import ahead, native
from backbones.compiled.jit import config

KERNEL = """
import json, os, sys
from pathlib import Path

def make():
    Path("{place}").write_text(json.dumps([os.getpid(), [p for p in sys.path if p]]))
    {then}
"""


@pytest.fixture
def maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Callable[[], object]]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(ahead, "_WORKING", {})
    monkeypatch.setattr(os, "cpu_count", lambda: 2)

    def make(then: str) -> Callable[[], object]:
        (tmp_path / "far_kernel.py").write_text(KERNEL.format(place=tmp_path / "made", then=then))
        sys.modules.pop("far_kernel", None)
        found: Callable[[], object] = __import__("far_kernel").make
        return found

    return make


def test_another_process_makes_it_from_the_same_packages(
    tmp_path: Path, maker: Callable[..., Callable[[], object]]
) -> None:
    ahead.compile_ahead(maker("pass"))
    ahead.compile_ahead(maker("pass"))  # begun already
    assert len(ahead._WORKING) == 1
    ahead.awaited("far_kernel")
    process, places = json.loads((tmp_path / "made").read_text())
    assert process != os.getpid()
    assert places[: len([place for place in sys.path if place])] == [place for place in sys.path if place]
    ahead.awaited("another")


def test_a_process_that_fails_is_only_no_help(tmp_path: Path, maker: Callable[..., Callable[[], object]]) -> None:
    ahead.compile_ahead(maker("raise SystemExit(3)"))
    ahead.awaited("far_kernel")
    assert (tmp_path / "made").exists()


def test_one_core_and_no_interpreter_begin_nothing(
    maker: Callable[..., Callable[[], object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    ahead.compile_ahead(maker("pass"))
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    ahead.compile_ahead(maker("pass"))
    assert not ahead._WORKING


def test_only_what_was_never_compiled_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[object] = []
    monkeypatch.setattr(native, "compile_ahead", begun.append)
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    native.begin_kernel(test_a_process_that_fails_is_only_no_help, ahead.awaited)  # type: ignore[arg-type]
    assert begun == [ahead.awaited]
    folder = native._cache_folder(Path(__file__).parent)
    assert folder is not None
    (folder / "compiled_1").mkdir()
    (folder / "compiled_1" / "test_ahead.test_a_process_that_fails_is_only_no_help-50.py311.nbi").touch()
    native.begin_kernel(test_a_process_that_fails_is_only_no_help, ahead.awaited)  # type: ignore[arg-type]
    assert len(begun) == 1


@pytest.mark.slow
def test_a_cold_start_compiles_the_reduction_once_and_beside(tmp_path: Path) -> None:
    code = (
        "from methods.fused.kernel import begin_compiling, reduction_kernel; from backbones.compiled import ahead;"
        "begin_compiling(); (process,) = ahead._WORKING.values(); reduction_kernel(); assert process.returncode == 0;"
        "ahead._WORKING.clear(); begin_compiling(); assert not ahead._WORKING"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=300)
    assert len(list(tmp_path.rglob("*.nbi"))) == 1

"""A kernel compiled by another process is used; a failure there has no consequences."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from backbones.compiled import ahead

KERNEL = """
import json, os, sys, time
from pathlib import Path

def make():
    Path("{place}").write_text(json.dumps([os.getpid(), [p for p in sys.path if p]]))
    {then}
"""
Maker = Callable[[str], None]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Maker:
    """Begins a process that writes down who it is, then does what it is told."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(ahead, "_WORKING", {})
    monkeypatch.setattr(ahead, "_ROOT", tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))

    def make(then: str) -> None:
        (tmp_path / "far_kernel.py").write_text(KERNEL.format(place=tmp_path / "made", then=then))
        ahead.compile_ahead("far_kernel", "make")

    return make


def test_another_process_makes_it_from_the_same_packages(tmp_path: Path, made: Maker) -> None:
    made("pass")
    made("pass")  # begun already
    (process,) = ahead._WORKING.values()
    ahead.awaited("far_kernel")
    assert process.returncode == 0
    who, places = json.loads((tmp_path / "made").read_text())
    assert who == process.pid
    ours = list(
        dict.fromkeys(place for place in sys.path if place)
    )  # Python names none twice when it begins
    assert places[: len(ours)] == ours
    ahead.awaited("another")


def test_a_process_that_fails_is_only_no_help(tmp_path: Path, made: Maker) -> None:
    made("raise SystemExit(3)")
    ahead.awaited("far_kernel")
    assert (tmp_path / "made").exists()


def test_one_core_and_no_interpreter_begin_nothing(
    made: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    made("pass")
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    made("pass")
    assert not ahead._WORKING


def test_what_was_compiled_is_not_begun_again(made: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "is_kept", lambda source: source.name == "far_kernel.py")
    made("pass")
    assert not ahead._WORKING


def test_it_ends_with_a_parent_that_is_killed(tmp_path: Path, made: Maker) -> None:
    made("time.sleep(600)")
    (mine,) = ahead._WORKING.values()
    mine.kill()
    line = "from backbones.compiled import ahead; from pathlib import Path; ahead._ROOT = Path('.')"
    code = f"{line}; ahead.compile_ahead('far_kernel', 'make'); ahead.awaited('far_kernel')"
    (tmp_path / "made").unlink(missing_ok=True)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(place for place in sys.path if place)}
    parent = subprocess.Popen([sys.executable, "-c", code], env=environment)
    child = _eventually(lambda: json.loads((tmp_path / "made").read_text())[0])
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _eventually(lambda: _is_gone(child))


def _eventually(ask: Callable[[], int]) -> int:
    for _ in range(600):
        try:
            if result := ask():
                return result
        except (OSError, ValueError):
            pass
        time.sleep(0.05)
    raise TimeoutError


def _is_gone(process: int) -> bool:
    """Whether it ended, be it that nobody took note of it yet."""
    status = Path(f"/proc/{process}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.slow
def test_a_cold_start_compiles_the_reduction_once_beside_and_without_torch(tmp_path: Path) -> None:
    begin = "ahead.compile_ahead('methods.fused.cpu.kernel', 'reduction_kernel')"
    lines = (
        "import sys",
        "from backbones.compiled import ahead",
        begin,
        "(process,) = ahead._WORKING.values()",
        "from methods.fused.cpu.kernel import reduction_kernel",
        "reduction_kernel()",
        "assert process.returncode == 0",
        "assert 'torch' not in sys.modules",
        "ahead._WORKING.clear()",
        begin,
        "assert not ahead._WORKING",
    )
    code = "; ".join(lines)
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=300)
    assert len(list(tmp_path.rglob("*.nbi"))) == 1

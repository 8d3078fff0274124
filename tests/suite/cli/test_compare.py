"""The reduction is begun before anything heavy is imported, exactly where a run will need it."""

from importlib import import_module
from pathlib import Path

import pytest

from suite.cli import run
from suite.config.spec_file import build_spec

ahead = import_module("suite.cli.compare")  # whose name the command shadows in the package


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(
        ahead, "compile_ahead", lambda module, maker: found.append(f"{module}:{maker}")
    )
    monkeypatch.setattr(ahead, "NVIDIA", tmp_path / "none")
    return found


def test_a_run_on_a_cpu_begins_it(begun: list[str]) -> None:
    ahead.begin_compiling(build_spec())
    ahead.begin_compiling(build_spec(methods=("none",)))  # there are the baselines
    ahead.begin_compiling(build_spec(methods=("mtr",), baselines=False, device="cpu"))
    assert begun == ["methods.fused.cpu.kernel:reduction_kernel"] * 3


def test_what_does_without_begins_nothing(
    begun: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ahead.begin_compiling(build_spec(device="cuda"))
    ahead.begin_compiling(build_spec(precision="fp64"))
    ahead.begin_compiling(build_spec(methods=("none", "downsample"), baselines=False))
    monkeypatch.setattr(ahead, "NVIDIA", tmp_path)
    ahead.begin_compiling(build_spec())
    assert not begun


@pytest.mark.parametrize(
    "line",
    [
        "compare --help",
        "compare --budgets x",
        "compare --budgets 7",
        "compare --name a/b",
        "compare --nonsense",
        "ablate",
        "ablate --axes nonsense --name a/b",
        "plan --images 8 --methods none --no-baselines",
    ],
)
def test_nothing_is_begun_for_what_does_not_run(line: str, begun: list[str]) -> None:
    run(line.split())
    assert not begun

"""Which executor, and what is refused before anything runs."""

import subprocess
import sys
from pathlib import Path

import pytest

from suite.cli import run
from suite.execution import choose, local
from suite.execution.choose import executor_of

Out = pytest.CaptureFixture[str]


def test_local_is_this_process() -> None:
    assert executor_of("local") is local.execute


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--executor rya", "unknown executor 'rya': did you mean ray?"),
        ("--workers 2", "--address and --workers are for workers elsewhere: add --executor ray"),
        ("--address auto", "--address and --workers are for workers elsewhere: add --executor ray"),
        ("--executor ray --workers -1", "--workers -1 is no number of workers"),
        (
            "--executor ray --address ray://head:10001",
            "start this on a node of the cluster, with --address auto",
        ),
    ],
)
def test_what_cannot_be_is_one_line_before_anything_is_opened(
    line: str, message: str, capsys: Out, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "find_spec", lambda name: object())
    assert run(["compare", "--runs", str(tmp_path / "runs"), *line.split()]) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_without_ray_the_command_that_brings_it_is_named(
    capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "find_spec", lambda name: None)
    assert run(["compare", "--executor", "ray"]) == 2
    shown = capsys.readouterr()
    assert (
        shown.err
        == "error: --executor ray needs Ray, which is not installed: pip install 'ray>=2.52'\n"
    )
    assert not shown.out


@pytest.mark.slow
def test_ray_is_imported_for_nobody_else() -> None:
    modules = "suite.cli, suite.comparison, suite.execution.ray_executor"
    code = f"import sys, {modules}; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""Fuzzing the loader of weights: a few files of every kind; the slow tests take thousands."""

import json
import os
import subprocess
import sys
from pathlib import Path

import fuzz_checkpoints as fuzzing
import pytest


@pytest.mark.parametrize("kind", list(fuzzing.KINDS))
def test_any_file_is_weights_or_one_line_and_runs_nothing(kind: str, tmp_path: Path) -> None:
    fuzzing.install_watch()
    assert sum(fuzzing.fuzz(kind, 40, tmp_path).values()) >= 1
    assert not list(tmp_path.glob("owned"))


def test_the_watch_sees_what_it_is_there_for(tmp_path: Path) -> None:
    fuzzing.install_watch()
    fuzzing.watching = True
    try:
        os.system("true")
        (tmp_path / "x").write_bytes(b"")
    finally:
        fuzzing.watching = False
    noted = [event.split()[0] for event in fuzzing.seen]
    fuzzing.seen.clear()
    assert {"os.system", "open"} <= set(noted)


@pytest.mark.slow
def test_tens_of_thousands_of_files(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    line = [sys.executable, str(root / "tests" / "backbones" / "fuzz_checkpoints.py"), "10000"]
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run(
        line, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=3600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    print(result)
    assert sum(sum(outcomes.values()) for outcomes in result["outcomes"].values()) >= 20_000
    assert not list(tmp_path.iterdir())

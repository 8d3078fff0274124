"""The tests of a GPU are collected where nothing can be drawn: none needs more than the kernels do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# what pages, plots, trackers and clusters need
ABSENT = (
    *("plotly", "narwhals", "matplotlib", "jinja2"),
    *("ray", "mlflow", "tensorboard", "wandb", "av"),
)
BLOCK = f"""
import sys


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT}:
            raise ModuleNotFoundError(f"no module {{name}}", name=name)


sys.meta_path.insert(0, Absent())
"""


@pytest.mark.slow
def test_gpu_tests_are_collected_without_what_draws(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(BLOCK)
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "--collect-only", "-q", "tests"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    collected = {line.partition("::")[0] for line in done.stdout.splitlines() if "::" in line}
    marked = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        if file != Path(__file__) and "mark.gpu" in file.read_text(encoding="utf-8"):
            marked.add(file.relative_to(ROOT).as_posix())
    assert collected == marked
    assert len(collected) > 5

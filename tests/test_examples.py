"""The examples keep the contracts, run beside the suite's own parts, and are what the pages print."""

import json
import re
from pathlib import Path

import pytest

from suite.cli import run

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
Out = pytest.CaptureFixture[str]
SMALL = (
    "--budgets 0.3 --no-baselines --no-report --gallery 0 --no-across-schedules --json --threads 1"
)


def cells(words: str, capsys: Out) -> list[dict[str, object]]:
    """The cells of a small comparison."""
    assert run([*words.split(), *SMALL.split()]) == 0
    found: list[dict[str, object]] = json.loads(capsys.readouterr().out)["cells"]
    return found


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_method_conforms_and_runs_as_it_says(capsys: Out) -> None:
    name = f"{EXAMPLES}/own_method.py:SPREAD"
    assert run(["verify", "--method", name]) == 0
    assert "0 fail" in capsys.readouterr().out
    found = {
        cell["label"]: cell for cell in cells(f"compare --images 12 --methods mtr,{name}", capsys)
    }
    assert {cell["status"] for cell in found.values()} == {"ok"}
    own = found["spread"]
    assert (own["schedule"], own["cls_window"], own["tuned"]) == ("rising", 8, False)


def test_the_backbone_conforms_and_runs_beside_ours(capsys: Out) -> None:
    name = f"{EXAMPLES}/own_backbone.py:decay_vim"
    assert run(["verify", "--backbone", name]) == 0
    assert "9 hold, 0 fail" in capsys.readouterr().out
    line = f"compare --images 12 --methods mtr,tome --checkpoint random --backbones vim_nano,{name}"
    found = cells(line, capsys)
    assert {cell["status"] for cell in found} == {"ok"}
    assert {(cell["backbone"], cell["label"]) for cell in found} == {
        (backbone, label)
        for backbone in ("vim_nano", "decay_vim")
        for label in ("none", "mtr", "tome")
    }
    assert str(EXAMPLES) not in json.dumps(found)


def test_the_data_set_opens_the_file_that_its_page_makes(tmp_path: Path, capsys: Out) -> None:
    page = (ROOT / "docs" / "write-a-dataset.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    exec(compile(next(block for block in blocks if "savez" in block), "page", "exec"), {})
    name = f"{EXAMPLES}/own_dataset.py:arrays"
    found = cells(f"compare --images 40 --methods tome --data {name}:garments.npz", capsys)
    dense, reduced = found
    assert float(str(dense["metrics"]["top1"])) > 0.8  # type: ignore[index]
    assert {dense["dataset"], reduced["dataset"]} == {"arrays:garments.npz"}
    assert run(["plan", "--images", "3", "--data", name]) == 2
    assert "arrays needs a file: write own_dataset.py:arrays:FILE.npz" in capsys.readouterr().err

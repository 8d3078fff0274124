"""The examples keep the contracts, run beside the suite's own parts, and are what the pages print."""

import ast
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from suite.cli import run
from suite.data import open_dataset

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
METHOD = f"{EXAMPLES}/own_method.py:SPREAD"
BACKBONE = f"{EXAMPLES}/own_backbone.py:decay_vim"
DATA = f"{EXAMPLES}/own_dataset.py:arrays"
Out = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def python_in(page: str) -> list[str]:
    """The blocks of Python on a page."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


@pytest.mark.parametrize("part", [f"--method {METHOD}", f"--backbone {BACKBONE}"])
def test_method_and_backbone_keep_their_contracts(part: str, capsys: Out) -> None:
    assert run(["verify", *part.split()]) == 0
    assert "hold, 0 fail" in capsys.readouterr().out


def test_all_three_run_in_one_comparison_beside_ours(capsys: Out) -> None:
    made = next(block for block in python_in("write-a-dataset.md") if "savez" in block)
    exec(compile(made, "page", "exec"), {})
    line = (
        f"compare --backbones vim_nano,{BACKBONE} --methods mtr,{METHOD} --data {DATA}:garments.npz "
        "--checkpoint random --images 12 --budgets 0.3 --no-baselines --no-across-schedules "
        "--no-report --gallery 0 --json --threads 1"
    )
    assert run(line.split()) == 0
    out = capsys.readouterr().out
    assert "own_backbone" not in out
    cells = json.loads(out)["cells"]
    assert {cell["status"] for cell in cells} == {"ok"}
    assert {cell["dataset"] for cell in cells} == {"arrays:garments.npz"}
    assert {(cell["backbone"], cell["label"]) for cell in cells} == {
        (backbone, label)
        for backbone in ("vim_nano", "decay_vim")
        for label in ("none", "mtr", "spread")
    }
    own = {(c["schedule"], c["cls_window"], c["tuned"]) for c in cells if c["label"] == "spread"}
    assert own == {("rising", 8, False)}
    # The page says that the bundled weights were trained for these images.
    chosen = np.arange(12)
    bundled = open_dataset("fashion-clutter", "dev").samples(chosen, 56)
    assert np.array_equal(open_dataset(f"{DATA}:garments.npz").samples(chosen, 56), bundled)


def test_a_data_set_without_its_file_and_a_broken_backbone_are_one_line(
    tmp_path: Path, capsys: Out
) -> None:
    assert run(["plan", "--images", "3", "--data", DATA]) == 2
    assert "arrays needs a file: write own_dataset.py:arrays:FILE.npz" in capsys.readouterr().err
    code = (EXAMPLES / "own_backbone.py").read_text("utf-8")
    (tmp_path / "broken.py").write_text(code.replace("(2, (self.heads, -1))", "(2, (3, -1))"))
    assert run(["verify", "--backbone", "broken.py:decay_vim"]) == 1
    page = (ROOT / "docs" / "write-a-backbone.md").read_text("utf-8")
    assert capsys.readouterr().out in page
    for red, name in enumerate(("train/a", "train/b", "val/a", "val/b")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (60, 60), (red, 0, 0)).save(tmp_path / "photos" / name / "1.png")
    for line in (
        "plan --checkpoint random --backbones",
        "bench --backbones",
        "train --data imagefolder:photos --from-scratch --backbone",
    ):
        assert run([*line.split(), "broken.py:decay_vim"]) == 2
        err = capsys.readouterr().err
        assert re.fullmatch(
            r"error: backbone 'decay_vim' fails on an image \(RuntimeError: .* "
            r"\(broken.py:\d+, in forward\)\): correct it; .*\n",
            err,
        )


def test_the_notebook_runs_from_its_first_cell_to_its_last(tmp_path: Path) -> None:
    notebook = json.loads((EXAMPLES / "reduce_and_compare.ipynb").read_text("utf-8"))
    for name in ("own_method.py", "own_backbone.py"):  # beside it, as in its folder
        (tmp_path / name).write_text((EXAMPLES / name).read_text("utf-8"))
    shown: list[object] = []
    names: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        *lines, last = ast.parse("".join(cell["source"])).body
        assert isinstance(last, ast.Expr)
        exec(compile(ast.Module(lines, []), "cell", "exec"), names)
        shown.append(eval(compile(ast.Expression(last.value), "cell", "eval"), names))
        # What it shows is stored, as a picture where it is one.
        kinds = {kind for out in cell["outputs"] for kind in out.get("data", {})}
        assert ("image/png" in kinds) == hasattr(shown[-1], "_repr_png_")
    assert repr(shown[0]) == "Reduced(vim_nano, mtr at one-shot, window 8: -40.0 % FLOPs)"
    assert shown[6] is True

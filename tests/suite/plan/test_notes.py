"""What a run says of its weights: before it begins, in its record, and among its findings."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from backbones import create_model
from suite import cli
from suite.comparison import run_comparison
from suite.config.run_spec import RunSpec
from suite.plan.notes import made_up_warning, notes_on_weights
from suite.plan.prepare import prepare

Specs = Callable[..., RunSpec]
Err = pytest.CaptureFixture[str]
WHAT = "made up, not trained: head (random)"


@pytest.mark.usefixtures("small", "unmade")
def test_a_made_up_head_is_said_everywhere(tmp_path: Path, small: Specs, capsys: Err) -> None:
    state = create_model("vim_mini").state_dict()
    body = {name: state[name] for name in state if not name.startswith("head.")}
    torch.save({"state_dict": {f"model.{name}": body[name] for name in body}}, tmp_path / "c.pth")
    name = "vim_mini[classes=3]"
    quick = {"methods": ("mtr",), "budgets": (0.3,), "baselines": False, "gallery": 0}
    spec = small(backbones=(name,), checkpoint=str(tmp_path / "c.pth"), **quick)
    folder = tmp_path / "run"
    result = run_comparison(spec, folder)
    line = capsys.readouterr().err.splitlines()[0]
    assert line == (
        f"{name}, weights: the plain weights ('state_dict') are taken; "
        f"'model.' taken off the names; {WHAT}"
    )
    warning = made_up_warning(name, ["head (random)"])
    assert warning.startswith(f"{name} is not trained as a whole: its weights lack head (random)")
    assert warning in result.headline.warnings
    assert result.headline.paragraphs[0] == warning
    assert {tuple(record.made_up) for record in result.records} == {("head (random)",)}
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["made_up"] == {name: ["head (random)"]}
    assert cli.run(["report", str(folder)]) == 0
    assert "its weights lack head (random)" in (folder / "report" / "index.html").read_text()


def test_whole_weights_are_not_spoken_of(tmp_path: Path, small: Specs) -> None:
    model = create_model("vim_mini")
    torch.save(model.state_dict(), tmp_path / "c.pth")
    prepared = prepare(small(checkpoint=str(tmp_path / "c.pth"), methods=("mtr",)))
    assert notes_on_weights(prepared) == []
    assert made_up_warning("vim_mini", []) == ""


def test_what_was_taken_of_two_is_said(tmp_path: Path, small: Specs) -> None:
    state = create_model("vim_mini").state_dict()
    torch.save({"model": state, "model_ema": state}, tmp_path / "c.pth")
    names = ("vim_mini", "vim_mini[ema=true]")
    prepared = prepare(small(backbones=names, checkpoint=str(tmp_path / "c.pth"), methods=("mtr",)))
    plain, averaged = notes_on_weights(prepared)
    assert plain.startswith("vim_mini, weights: the plain weights ('model') are taken, not the")
    assert plain.endswith("which 'vim_mini[ema=true]' takes")
    assert averaged.startswith("vim_mini[ema=true], weights: the averaged weights ('model_ema')")
    # two results of one file must not share a place on disk
    keys = {cell.key for cell in prepared.cells}
    assert len(keys) == len(prepared.cells)

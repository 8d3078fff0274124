"""A run beside its models alone: both call the same models, and the figures are of the rounds."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from suite.bench import engine
from suite.bench.engine import called_alone, evaluated, prepared_on_noise
from suite.bench.spec import BenchSpec
from suite.cli import run as run_cli
from suite.cli.spec_options import expand
from suite.evaluation import runner

SMALL = "vim_nano[image_size=32,depth=4,dim=8]"
SPEC = BenchSpec(
    backbones=(SMALL,), methods=("mtr", "random", "downsample"), budgets=(0.2,), batches=(3,)
)


def test_a_run_calls_the_models_that_are_called_alone(tmp_path: Path) -> None:
    prepared = prepared_on_noise(SPEC, SMALL, "fp32", "cpu", 5)
    (name,) = prepared.models
    cells = prepared.runnable[name]
    assert [cell.method.text for cell in cells] == ["none", "mtr", "random", "downsample"]
    images = torch.from_numpy(prepared.dataset.samples(np.arange(5), 32))
    with torch.inference_mode():
        logits = called_alone(prepared, name, images, torch.arange(5))
    for sharing in (True, False):
        evaluated(prepared, sharing, tmp_path / str(sharing))
        for cell in cells:
            files = sorted((tmp_path / str(sharing) / "shards" / cell.key).glob("*.parquet"))
            frame = pd.concat(map(pd.read_parquet, files))
            assert frame.prediction.tolist() == logits[cell.key].argmax(1).tolist()


def test_nothing_is_shared_where_cells_are_evaluated_one_by_one() -> None:
    prepared = prepared_on_noise(SPEC, SMALL, "fp32", "cpu", 3)
    (model,) = prepared.models.values()
    blocks = []
    handle = model.blocks[0].register_forward_hook(lambda *_: blocks.append(1))
    evaluated(prepared, sharing=True)
    together = len(blocks)
    evaluated(prepared, sharing=False)
    handle.remove()
    # dense, mtr and random; the smaller image has a model of its own, with the same blocks
    assert (together, len(blocks) - together) == (2, 4)
    assert runner.evaluate.__name__ == "evaluate"


def test_the_measurement_from_the_command_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0, 2, 2, 6, 6, 7, 10, 12, 20, 28, 30, 31])
    monkeypatch.setattr(engine, "now", lambda: float(next(clock)))
    monkeypatch.setattr("suite.bench.cells.PAUSE", 0.0)
    line = "bench engine --device cpu --batch-size 2 --budgets 0.2 --methods mtr --rounds 2"
    file = tmp_path / "engine.json"
    assert run_cli([*line.split(), "--backbone", SMALL, "--images", "3", "--save", str(file)]) == 0
    (row,) = json.loads(file.read_text())
    assert (row["cells"], row["images"], row["batch"]) == (2, 3, 2)
    # 2 x 3 outcomes in 2 and 2, in 4 and 8, in 1 and 1 seconds
    assert (row["alone"], row["apart"], row["together"]) == (3, (1.5 + 0.75) / 2, 6)
    assert (row["share"], row["gain"]) == ((0.5 + 0.25) / 2, 2)
    assert row["seconds"]["model"] > 0
    printed = capsys.readouterr()
    assert "38 % of the rate" in " ".join(printed.out.split())
    assert "planning the cells" in printed.err
    assert "1 of 6 runs" in printed.err
    assert "5 of 6 runs" in printed.err


def test_a_cell_that_fails_ends_the_measurement(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unwell(*_: object) -> None:
        raise ValueError("unwell")

    monkeypatch.setattr("backbones.models.vim.Vim.readout", unwell)
    monkeypatch.setattr(engine, "called_alone", lambda *_: {})
    line = "bench engine --device cpu --batch-size 2 --budgets 0.2 --methods mtr --images 2"
    assert run_cli([*line.split(), "--backbone", SMALL]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "unwell" in error
    assert "name other methods, or a smaller --batch-size" in error


def test_a_backbone_of_clips_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    line = ["bench", "engine", "--device", "cpu", "--backbones", "videomamba_tiny_video"]
    assert run_cli(line) == 2
    assert "does not classify images" in capsys.readouterr().err


@pytest.mark.gpu
def test_a_run_on_a_gpu_has_at_least_85_percent_of_its_models_rate() -> None:
    spec = BenchSpec(
        backbones=("vim_tiny_64",),
        methods=expand(("all",)),
        budgets=(0.2, 0.3, 0.4, 0.5, 0.6),
        batches=(500,),
        rounds=3,
    )
    (row,) = engine.measure_engine(spec, "cuda", 1000, print)
    assert row.cells >= 90
    assert row.share >= 0.85
    assert row.gain >= row.share

"""`retrain` from a folder of pictures to a page: cells side by side, weights that load, one line when wrong."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from backbones.common.errors import UserError
from backbones.sequence import TokenSequence
from methods.parts.score import SCORES
from methods.reducer import Reducer
from suite.cli import run as run_cli
from suite.retrain.prepare import Training, check_gradient, in_files, prepare_retraining
from suite.retrain.spec import RetrainSpec
from suite.store.results import Results, cut_shards
from suite.store.run_folder import Store
from suite.training.loop import Trainer

Out = pytest.CaptureFixture[str]
Make = Callable[..., RetrainSpec]


def line(pictures: Path, runs: Path, *more: str) -> list[str]:
    return [
        *("retrain", "--backbones", "vim_sprig", "--data", f"imagefolder:{pictures / 'photos'}"),
        *("--checkpoint", str(pictures / "first.safetensors"), "--runs", str(runs)),
        *("--name", "here", "--images", "all", "--train-batch", "6", "--lr", "0.01"),
        *("--seeds", "2", "--gallery", "0", "--device", "cpu", "--threads", "1", "--loaders", "0"),
        *more,
    ]


@pytest.fixture
def registered(retrain_spec: Make) -> None:
    """The backbone of `retrain_spec` is known."""


@pytest.mark.usefixtures("registered", "rehearsed", "undrawn")
def test_from_pictures_to_a_page(
    pictures: Path, tmp_path: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("--methods", "tome,random", "--budgets", "0.3", "--epochs", "1")
    assert run_cli(line(pictures, tmp_path, *asked)) == 0
    printed = capsys.readouterr()
    assert "trainings to go: 3, about" in printed.err
    assert "leaves out" not in printed.err
    assert re.search(r"vim_sprig under tome at -30 % FLOPs, epoch 1 of 1: loss", printed.err)
    assert "3 trainings of 12 images each (1 epoch, 2 steps of 6)" in printed.out
    folder = tmp_path / "here"
    page = (folder / "report" / "index.html").read_text()
    assert "What does retraining win back?" in page

    # The table is what the outcomes of the cells say.
    cells = [json.loads(file.read_text()) for file in (folder / "cells").glob("*.json")]
    results = Results(Store(folder), cut_shards(np.arange(18), 256))

    def top1(label: str, training: str | None, budget: float | None) -> float:
        found = []
        for cell in cells:
            name = (cell["retrained"] or {}).get("name")
            if (cell["label"], name, cell["budget"]) == (label, training, budget):
                found.append(results.hits(cell["key"])[1].mean())
        assert len(found) == (2 if label == "random" else 1)
        return float(np.mean(found))

    table = pd.read_parquet(folder / "analyses" / "retrained.parquet").set_index("label")
    assert list(table.index) == ["none", "tome", "random"]
    for label in ("tome", "random"):
        name, row = f"vim_sprig-{label}-0.3", table.loc[label]
        assert row["top1_before"] == pytest.approx(top1(label, None, 0.3))
        assert row["top1"] == pytest.approx(top1(label, name, 0.3))
        assert row["whole_top1"] == pytest.approx(top1("none", name, None))
        assert row["control_top1"] == pytest.approx(top1("none", "vim_sprig-none", None))
        assert row["dense_top1"] == pytest.approx(top1("none", None, None))
        assert row["difference"] == pytest.approx(row["top1"] - row["top1_before"])
        assert row["behind"] == pytest.approx(row["control_top1"] - row["top1"])
        assert (row["trained_images"], row["training"]) == (12, name)
    curve = pd.read_parquet(folder / "analyses" / "retraining_curve.parquet")
    assert curve["epoch"].tolist() == [1, 1, 1]

    # Nothing is trained again, also where the data lie elsewhere.
    monkeypatch.setattr(Trainer, "run", None)
    moved = shutil.copytree(pictures / "photos", tmp_path / "moved")
    again = line(pictures, tmp_path, *asked, "--json", "--no-report")
    again[again.index("--data") + 1] = f"imagefolder:{moved}"
    assert run_cli(again) == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["label"] for row in document["retrained"]] == ["none", "tome", "random"]

    # A comparison with the weights has the same answers.
    weights = folder / "weights" / "vim_sprig-tome-0.3.safetensors"
    assert len(load_file(weights)) > 10
    compare = [
        *("compare", "--backbones", "vim_sprig", "--checkpoint", str(weights), "--json"),
        *("--data", f"imagefolder:{pictures / 'photos'}", "--images", "all", "--methods", "tome"),
        *("--budgets", "0.3", "--no-baselines", "--no-across-schedules", "--gallery", "0"),
        *("--device", "cpu", "--threads", "1", "--runs", str(tmp_path), "--name", "again"),
        "--no-report",
    ]
    assert run_cli(compare) == 0
    found = json.loads(capsys.readouterr().out)["cells"]
    assert found[1]["metrics"]["top1"] == table.loc["tome", "top1"]
    assert found[0]["metrics"]["top1"] == table.loc["tome", "whole_top1"]


@pytest.mark.usefixtures("registered")
def test_weights_are_tested_at_budgets_that_they_were_not_trained_at(
    pictures: Path, tmp_path: Path, capsys: Out
) -> None:
    asked = ("--methods", "tome", "--budgets", "0.3", "--epochs", "1", "--no-report")
    asked += ("--lr", "0.01,0.0001", "--train-batch", "4")
    assert run_cli(line(pictures, tmp_path, *asked, "--test-budgets", "0.15,0.3")) == 0
    printed = capsys.readouterr()
    # One training beside the control, and its weights at both budgets.
    assert "trainings to go: 2, at 2 learning rates each, about" in printed.err
    assert "2 trainings at 2 learning rates of 8 images each" in " ".join(printed.out.split())
    assert "Of the learning rates 0.0001 and 0.01, 3 held-out training images" in printed.out
    assert re.search(r"tome +-15 %.* -30 %", printed.out)
    folder = tmp_path / "here"
    table = pd.read_parquet(folder / "analyses" / "retrained.parquet")
    assert table["label"].tolist() == ["none", "tome", "tome"]
    assert table["trained_budgets"].tolist() == ["", "0.3", "0.3"]
    assert table["training"].tolist()[1:] == ["vim_sprig-tome-0.3"] * 2
    rows = table[table["label"] == "tome"].set_index("budget")
    assert sorted(rows.index) == [0.15, 0.3]

    # A comparison at these budgets has the same answers, before and after.
    for checkpoint, column in (
        (pictures / "first.safetensors", "top1_before"),
        (folder / "weights" / "vim_sprig-tome-0.3.safetensors", "top1"),
    ):
        compare = [
            *("compare", "--backbones", "vim_sprig", "--checkpoint", str(checkpoint), "--json"),
            *("--data", f"imagefolder:{pictures / 'photos'}", "--images", "all"),
            *("--methods", "tome", "--budgets", "0.15,0.3", "--no-baselines", "--gallery", "0"),
            *("--no-across-schedules", "--device", "cpu", "--threads", "1", "--no-report"),
            *("--runs", str(tmp_path), "--name", column),
        ]
        assert run_cli(compare) == 0
        for cell in json.loads(capsys.readouterr().out)["cells"]:
            if cell["budget"] is not None:
                assert cell["metrics"]["top1"] == rows.loc[cell["budget"], column]


@pytest.mark.usefixtures("registered", "undrawn")
def test_methods_that_look_at_fewer_pixels_are_retrained(
    pictures: Path, tmp_path: Path, capsys: Out
) -> None:
    asked = ("--methods", "tome,crop-shrink,downsample", "--budgets", "0.4", "--epochs", "1")
    assert run_cli(line(pictures, tmp_path, *asked)) == 0
    printed = capsys.readouterr()
    assert re.search(r"vim_sprig under crop-shrink at -40 % FLOPs, epoch 1 of 1", printed.err)
    # The smaller image lies off the budget: it is marked, and has no place in the order of methods.
    assert re.search(r"downsample +-40 % † ", printed.out)
    assert re.search(r"crop-shrink +-40 %  ", printed.out)
    assert "† downsample: 43.1 % fewer FLOPs, so not tested" in printed.out
    folder = tmp_path / "here"
    table = pd.read_parquet(folder / "analyses" / "retrained.parquet").set_index("label")
    assert table.loc["downsample", "removed"] == pytest.approx(
        1 - 37 / 65, abs=1e-3
    )  # 6 x 6 of 8 x 8
    assert table.loc["crop-shrink", "removed"] == pytest.approx(0.4, abs=0.0026)
    assert np.isnan(table.loc["none", "removed"])
    assert not (folder / "analyses" / "retrained_ranking.parquet").exists()
    page = (folder / "report" / "index.html").read_text()
    assert "vim_sprig-crop-shrink-0.4" in page
    assert "43.1" in page

    # A comparison with these weights, which sees no training, has the same answers.
    for label in ("crop-shrink", "downsample"):
        weights = folder / "weights" / f"vim_sprig-{label}-0.4.safetensors"
        assert len(load_file(weights)["pos_embed"][0]) == 65  # of the whole image
        compare = [
            *("compare", "--backbones", "vim_sprig", "--checkpoint", str(weights), "--json"),
            *("--data", f"imagefolder:{pictures / 'photos'}", "--images", "all"),
            *("--methods", label, "--budgets", "0.4", "--no-baselines", "--gallery", "0"),
            *("--no-across-schedules", "--device", "cpu", "--threads", "1", "--no-report"),
            *("--runs", str(tmp_path), "--name", f"again-{label}"),
        ]
        assert run_cli(compare) == 0
        dense, reduced = json.loads(capsys.readouterr().out)["cells"]
        assert reduced["metrics"]["top1"] == table.loc[label, "top1"]
        assert dense["metrics"]["top1"] == table.loc[label, "whole_top1"]


OWN_SCORE = """
import torch
from methods.base import Method, composed
from methods.parts.score import SCORES, Score

def steep(context, direction):
    length = context.tokens.branch.norm(dim=2)
    return torch.from_numpy(BODY).gather(1, context.patches)

SCORES["steep"] = Score(steep, lambda direction: frozenset(), False, lambda n, k, s: n)
STEEP = Method(
    name="steep", title="Steep", family="pruning", about="Drops short tokens.",
    build=lambda: composed(matching="lowest", score="steep", weights="drop"),
)
"""

BAD: dict[str, tuple[tuple[str, ...], str]] = {
    "a method that only moves tokens": (("--methods", "permute"), "is no reduction to train under"),
    "a method that reads labels": (
        ("--methods", "oracle"),
        "oracle is no reduction to train under",
    ),
    "the control as a method": (("--methods", "none"), "none is no reduction to train .* leave it"),
    "a budget that leaves no token": (("--budgets", "0.995"), "no method can remove 99.5 %"),
    "a budget of all": (("--budgets", "1"), "a budget is a share of the FLOPs between 0 and 1"),
    "a budget of all to test at": (
        ("--test-budgets", "1"),
        "--test-budgets 1: a budget is a share of the FLOPs between 0 and 1",
    ),
    "a budget that is reached where no training is": (
        ("--budgets", "0.995", "--test-budgets", "0.3"),
        "mtr cannot be retrained on vim_sprig: .*99.5 %",
    ),
    "adaptive counts": (
        ("--methods", "hsa@adaptive"),
        "schedule adaptive the images .* choose another for retrain",
    ),
    "the split that is trained on": (("--split", "train"), "is what is trained on"),
    "a split that is not there": (("--split", "dev"), "has no split 'dev': choose test or train"),
    "more images than there are": (("--train-images", "13"), "13 images asked for, but .* 12"),
    "one step, which changes nothing": (
        ("--train-images", "6", "--epochs", "1"),
        "6 training images are one step of 6.*--train-batch 1",
    ),
    "no images": (("--train-images", "0"), "must be a whole number from 1 on, or 'all'"),
    "no epoch": (("--epochs", "0"), "--epochs"),
    "a rate of nothing": (("--lr", "0"), "--lr 0: .*greater than 0"),
    "a rate that is no number": (("--lr", "nan"), "--lr nan"),
    "a rate of nothing among others": (("--lr", "0.1,0"), "--lr 0: .*greater than 0"),
    "a rate twice": (("--lr", "0.1,1e-1"), "--lr 0.1,1e-1: 0.1 stands there twice"),
    "too few images to choose a rate by": (
        ("--lr", "0.1,0.01", "--train-images", "5"),
        "5 training images are too few to hold 3 out.*at least 6 by --train-images, or a single",
    ),
    "a negative weight": (("--distill", "-1"), "--distill"),
    "an unknown augmentation": (("--augment", "much"), "--augment much"),
    "bf16 on a CPU": (("--precision", "bf16"), "bf16 is for CUDA devices"),
    "garments that are not there": (
        ("--data", "fashion-clutter", "--source", "nowhere"),
        "nowhere",
    ),
    "another method's trace": (("--methods", "evit[score=cls-attention]"), "cannot be retrained"),
}


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(case: str, pictures: Path, tmp_path: Path, capsys: Out) -> None:
    more, problem = BAD[case]
    assert run_cli(line(pictures, tmp_path, *more)) == 2
    err = capsys.readouterr().err.strip().splitlines()
    assert re.search(problem, err[-1]), err
    assert len(err) == 1, err
    assert not (tmp_path / "here").exists()


@patch.dict(SCORES)  # the user's file adds its score, which no other test must meet
@pytest.mark.usefixtures("registered")
def test_a_method_whose_score_has_no_gradient_can_be_trained_under(
    pictures: Path, tmp_path: Path, capsys: Out
) -> None:
    more = ("--budgets", "0.3", "--epochs", "1", "--no-report", "--methods")
    own = tmp_path / "own.py"
    # Numpy takes no tensor that a gradient goes through.
    own.write_text(OWN_SCORE.replace("BODY", "length.numpy()"))
    assert run_cli(line(pictures, tmp_path, *more, f"{own}:STEEP")) == 2
    err = capsys.readouterr().err.strip().splitlines()
    assert re.search("method steep cannot be trained under .*numpy.*operations that have", err[-1])
    assert len(err) == 2, err  # the first says whose code runs
    own = tmp_path / "other.py"
    own.write_text(OWN_SCORE.replace("BODY", "length.detach().numpy()"))
    assert run_cli(line(pictures, tmp_path, *more, f"{own}:STEEP")) == 0
    assert "trained alike" in capsys.readouterr().out


def test_a_reduction_that_cuts_gradients_off_is_refused(
    retrain_spec: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    retraining = prepare_retraining(retrain_spec(methods=("tome",)))
    training = retraining.trainings[-1]
    model = retraining.models[training.backbone]
    check_gradient(model, training.cells[0])
    plain = Reducer.__call__

    def cutting(self: Reducer, tokens: TokenSequence) -> TokenSequence:
        out = plain(self, tokens)
        return replace(out, branch=out.branch.detach(), residual=out.residual.detach())

    monkeypatch.setattr(Reducer, "__call__", cutting)
    with pytest.raises(UserError, match="no gradient passes through method tome: let it"):
        check_gradient(model, training.cells[0])


@pytest.mark.usefixtures("registered")
def test_data_without_a_split_to_train_on_are_one_line(
    pictures: Path, tmp_path: Path, capsys: Out
) -> None:
    shutil.copytree(pictures / "photos" / "test", tmp_path / "lone" / "test")
    assert run_cli(line(pictures, tmp_path, "--data", f"imagefolder:{tmp_path / 'lone'}")) == 2
    err = capsys.readouterr().err.strip().splitlines()
    assert len(err) == 1
    assert "lone' has no split train to train on: add one beside test" in err[0]


def test_of_undivided_data_only_what_is_held_out_is_evaluated(
    retrain_spec: Make, pictures: Path
) -> None:
    retraining = prepare_retraining(retrain_spec(data=f"imagefolder:{pictures / 'photos/train'}"))
    evaluated, trained = retraining.prepared.indices.tolist(), retraining.data.rows.tolist()
    assert sorted(evaluated + trained) == list(range(12))
    assert len(evaluated) == 3


@pytest.mark.slow
def test_two_processes_end_in_the_weights_of_one(pictures: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        "from backbones.models.sizes import MambaConfig\n"
        "from backbones.models.vim import Vim\n"
        "def net(classes=3):\n"
        "    sizes = dict(dim=16, depth=4, states=4, image_size=32, patch=4, stride=4)\n"
        "    return Vim('net', MambaConfig(**sizes, classes=classes))\n"
    )
    more = ("--checkpoint", "random", "--methods", "tome,random", "--no-report")
    more += ("--budgets", "0.3", "--epochs", "2", "--lr", "0.001,0.01", "--train-batch", "4")
    for count in (1, 2):
        begin = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        begin += ["--nproc-per-node", str(count), "-m", "suite"]
        words = line(pictures, tmp_path / str(count), *more)
        words[words.index("vim_sprig")] = f"{own}:net"
        done = subprocess.run(
            [*begin, *words],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        # One of them alone compares.
        assert done.stdout.count("3 trainings at 2 learning rates of") == 1
    for name in ("net-none", "net-tome-0.3", "net-random-0.3"):
        file = Path("here", "weights", f"{name}.safetensors")
        alone, together = (load_file(tmp_path / place / file) for place in ("1", "2"))
        for key, tensor in alone.items():
            torch.testing.assert_close(together[key], tensor, rtol=1e-2, atol=2e-4, msg=key)


def test_names_of_files_are_told_apart() -> None:
    # Brackets, commas and colons are no part of a file's name.
    trainings = [Training(name, "net") for name in ("net-a[b=1]-0.4", "net-a(b:1)-0.4", "net-none")]
    names = [training.name for training in in_files(trainings)]
    assert names[0] == "net-a_b_1_-0.4"
    assert names[2] == "net-none"
    assert len(set(names)) == 3
    assert all(re.fullmatch(r"[\w.+-]+", name) for name in names)

"""Several retrainings in one report: each beside its own control, paired as one run would pair them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from suite.cli import run as run_cli
from suite.merge import merge
from suite.merge.finished_run import load_run
from suite.merge.trainings import trainings_told_apart
from suite.retrain.run import run_retraining
from suite.retrain.spec import RetrainSpec
from suite.retrain.tables import rows_in

Make = Callable[..., RetrainSpec]
KEY = ["backbone", "label", "budget", "trained_images", "training"]


def run_all(make: Make, runs: Path) -> list[Path]:
    folders = []
    for name, methods, epochs in (
        ("short", ("tome",), 1),
        ("other", ("tome[weights=drop]",), 1),
        ("long", ("tome",), 2),
    ):
        spec = make(methods=methods, epochs=epochs, schedule="constant-ratio")
        folders.append(runs / name)
        run_retraining(spec, folders[-1], quiet=True)
    return folders


@pytest.mark.usefixtures("unmade")
def test_retrainings_are_one_report(
    retrain_spec: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = run_all(retrain_spec, tmp_path)
    merged, _ = merge(folders, tmp_path / "merged")
    table = pd.DataFrame(rows_in(merged)["retrained"])
    # The control of the short ones is one; those of the long run have its name.
    assert sorted(table["training"]) == [
        "long/vim_sprig-none",
        "long/vim_sprig-tome-0.3",
        "short/vim_sprig-none",
        "short/vim_sprig-tome-0.3",
        "vim_sprig-tome_weights_drop_-0.3",
    ]
    # Each row is that of its run.
    for folder in folders:
        for row in rows_in(folder)["retrained"]:
            same = table[(table["label"] == row["label"])]
            same = same[same["trained_images"] == row["trained_images"]]
            found = same.iloc[0]
            assert len(same) == 1
            for name in ("top1", "top1_before", "control_top1", "difference_low", "whole_top1"):
                assert found[name] == row[name]
    # What no single run could say.
    pairs = rows_in(merged)["retrained_contrasts"]
    assert [(row["label"], row["reference"]) for row in pairs] == [("tome[weights=drop]", "tome")]
    curve = pd.read_parquet(merged / "analyses" / "retraining_curve.parquet")
    # The control of the second run is that of the first.
    assert len(curve) == 1 + 1 + 1 + 4
    assert set(curve["training"]) == set(table["training"])
    capsys.readouterr()
    assert run_cli(["report", str(merged)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "trained alike on 12" in printed
    assert "trained alike on 24" in printed
    assert "tome[weights=drop] less tome (weights drop against as it is)" in printed


def test_equal_weights_keep_their_name(retrain_spec: Make, tmp_path: Path) -> None:
    spec = retrain_spec(methods=("tome",), epochs=1)
    folders = [tmp_path / name for name in ("one", "two")]
    run_retraining(spec, folders[0], quiet=True)
    shutil.copytree(folders[0], folders[1])
    runs = [load_run(folder) for folder in folders]
    assert trainings_told_apart(runs) == runs
    merged, _ = merge(folders, tmp_path / "merged")
    assert rows_in(merged)["retrained"] == rows_in(folders[0])["retrained"]

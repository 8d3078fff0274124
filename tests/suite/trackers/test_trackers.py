"""What is logged to trackers, read back from their files, where they are installed."""

import json
import shutil
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from backbones.common.errors import UserError
from suite import trackers as track
from suite.cli import run
from suite.trackers.content import read_content

Out = pytest.CaptureFixture[str]


@pytest.fixture
def tracked(finished: Callable[..., Path], tmp_path: Path) -> Path:
    """A finished run, to which a tracker may write, with a report of one figure."""
    folder = Path(shutil.copytree(finished("one", methods=("mtr",)), tmp_path / "one"))
    (folder / "report" / "figures").mkdir(parents=True)
    Image.new("RGB", (8, 6), "red").save(folder / "report" / "figures" / "pareto.png")
    (folder / "report" / "index.html").write_text("<p>report</p>")
    return folder


def cells(folder: Path, **wanted: Any) -> list[dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in (folder / "cells").glob("*.json")]
    return [cell for cell in found if all(cell[name] == value for name, value in wanted.items())]


def installed(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed")


def test_curves_are_the_cells_seeds_averaged(tracked: Path) -> None:
    content = read_content(tracked)
    (mtr,) = cells(tracked, label="mtr", budget=0.5, role="asked")
    first, second = cells(tracked, label="random", budget=0.3)
    assert content.curves["vim_mini/mtr/top1"][50] == mtr["metrics"]["top1"]
    assert content.curves["vim_mini/mtr/flops"][50] == mtr["total"]["flops"]
    mean = (first["metrics"]["loss"] + second["metrics"]["loss"]) / 2
    assert content.curves["vim_mini/random/loss"][30] == pytest.approx(mean, rel=1e-12)
    assert list(content.curves["vim_mini/none/top1"]) == [0]
    assert [path.name for path in content.files] == [
        "spec.yaml",
        "environment.json",
        "dataset.json",
        "report",
    ]


def test_what_cannot_be_had_is_refused_before_anything_runs(
    tmp_path: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(track, "find_spec", lambda name: None)
    for command in ("compare", "ablate --axes order", "sensitivity"):
        assert run([*command.split(), "--track", "wandb"]) == 2
        assert (
            capsys.readouterr().err
            == "error: --track wandb needs the package wandb: pip install '.[track]'\n"
        )
    assert run(["compare", "--track", "mlflow,tensorbord"]) == 2
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="unknown tracker 'tensorbord': did you mean tensorboard"):
        track.chosen_trackers("tensorbord")
    assert track.chosen_trackers("") == []


def test_a_tracker_that_fails_is_a_warning(
    tracked: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        @staticmethod
        def log(content: Any) -> str:
            raise ConnectionError("no\nroute")

    monkeypatch.setitem(sys.modules, "suite.trackers.wandb_log", Broken)  # type: ignore[arg-type]
    track.log_run(["wandb"], tracked)
    assert (
        capsys.readouterr().err
        == f"warning: the run was not logged to wandb (no route); {tracked} is complete\n"
    )


@installed("tensorboard")
def test_tensorboard_reads_back_what_it_was_told(tracked: Path, capsys: Out) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):  # told again, it has everything once
        track.log_run(["tensorboard"], tracked)
    place = tracked / "track" / "tensorboard"
    assert str(place) in capsys.readouterr().err
    events = EventAccumulator(str(place), {"scalars": 0, "images": 0, "tensors": 0}).Reload()
    want = read_content(tracked).curves
    assert set(events.Tags()["scalars"]) == set(want)
    for name, values in want.items():
        got = {event.step: event.value for event in events.Scalars(name)}
        assert got == pytest.approx(values, rel=1e-6)
        assert len(events.Scalars(name)) == len(values)
    assert events.Tags()["images"] == ["figures/pareto"]
    spec = events.Tensors("spec/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "backbones:\n- vim_mini" in spec


@installed("mlflow")
@pytest.mark.slow
def test_mlflow_reads_back_what_it_was_told(tracked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    track.log_run(["mlflow"], tracked)
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tracked.parent / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("mamba-token-suite")
    assert experiment is not None
    (found,) = client.search_runs([experiment.experiment_id])
    assert (found.info.run_name, found.info.status) == ("one", "FINISHED")
    assert json.loads(found.data.params["backbones"]) == ["vim_mini"]
    for name, values in read_content(tracked).curves.items():
        assert {
            entry.step: entry.value for entry in client.get_metric_history(found.info.run_id, name)
        } == values
    assert {entry.path for entry in client.list_artifacts(found.info.run_id)} == {
        "spec.yaml", "environment.json", "dataset.json", "report",
    }  # fmt: skip
    assert [entry.path for entry in client.list_artifacts(found.info.run_id, "report/figures")] == [
        "report/figures/pareto.png"
    ]


@installed("wandb")
@pytest.mark.slow
def test_wandb_stays_offline_without_a_key(
    tracked: Path, tmp_path: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    track.log_run(["wandb"], tracked)
    told = capsys.readouterr().err
    assert "offline" in told
    (log,) = (tracked / "track" / "wandb").rglob("run-*.wandb")
    from wandb.proto import wandb_internal_pb2
    from wandb.sdk.internal.datastore import DataStore

    store = DataStore()
    store.open_for_scan(str(log))
    history: list[dict[str, Any]] = []
    config: dict[str, Any] = {}
    while (data := store.scan_data()) is not None:
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            history.append(
                {
                    item.key or "/".join(item.nested_key): json.loads(item.value_json)
                    for item in items
                }
            )
        if record.WhichOneof("record_type") == "run":
            config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
    assert config["backbones"] == ["vim_mini"]
    rows = {row["percent_removed"]: row for row in history if "percent_removed" in row}
    for name, values in read_content(tracked).curves.items():
        for step, value in values.items():
            assert rows[step][name] == value
    assert list(tracked.rglob("pareto*.png"))

"""Latency: every cell in every way of running it, beside the dense pass that runs alike."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from suite.bench import latency
from suite.bench.latency import GRAPH, LAUNCHED, answer, measure_latency, table
from suite.bench.spec import BenchSpec
from suite.cli import run as run_cli

SMALL = "vim_nano[image_size=32,depth=3,dim=8]"


def test_passes_are_beside_the_dense_one_that_runs_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """With stand-ins for the graphs and the timer: a graph takes half as long."""

    def graph(run: Callable[[Any], object], timed: Any) -> Callable[[], object]:
        assert run(timed).shape == (2, 10)
        return timed

    def seconds_of(timed: Any, device: str) -> float:
        return 0.001 if timed.plan else 0.002

    monkeypatch.setattr(latency, "captured", graph)
    monkeypatch.setattr(latency, "seconds", seconds_of)
    monkeypatch.setattr("suite.bench.passes.seconds", lambda timed, device: 0.004)
    monkeypatch.setattr(latency, "state", lambda device: {"machine": "a GPU"})
    model = latency.random_model
    monkeypatch.setattr(latency, "random_model", lambda *given: model(*given[:3], "cpu"))
    passes = latency.passes_of
    monkeypatch.setattr(latency, "passes_of", lambda *given: passes(*given[:3], "cpu"))
    spec = BenchSpec(backbones=(SMALL,), methods=("mtr",), budgets=(0.2,), batches=(2,), rounds=3)
    rows = list(measure_latency(spec, "cuda", lambda line: None))
    assert [(row["label"], row["run"], row["ms"], row["speedup"]) for row in rows] == [
        ("none", LAUNCHED, 4, 1),
        ("mtr", LAUNCHED, 4, 1),
        ("none", GRAPH, 2, 1),
        ("mtr", GRAPH, 1, 2),
    ]
    assert answer(rows).endswith("takes 2.000 ms for 2 images, dense; 0 of 1 reduced pass was "
                                 "not shown to be faster.")  # fmt: skip
    once = list(measure_latency(spec.model_copy(update={"rounds": 1}), "cuda", lambda line: None))
    assert "not shown" not in answer(once)
    assert "One round shows nothing" in answer(once)
    page = io.StringIO()
    Console(file=page, width=200).print(table(rows))
    assert "2.00 [2.00, 2.00]" in page.getvalue()


def test_the_measurement_from_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "latency.json"
    line = "bench latency --device cpu --methods mtr,downsample --budgets 0.2 --rounds 2"
    assert run_cli([*line.split(), "--backbone", SMALL, "--save", str(file)]) == 0
    rows = json.loads(file.read_text())
    assert [(row["label"], row["run"], row["batch"]) for row in rows] == [
        (label, LAUNCHED, 1) for label in ("none", "mtr", "downsample")
    ]
    assert all(row["ms"] > 0 and row["kind"] == "images" for row in rows)


@pytest.mark.gpu
def test_one_image_reduced_is_no_slower_than_dense_as_a_graph() -> None:
    spec = BenchSpec(
        backbones=("vim_tiny",),
        methods=("mtr",),
        budgets=(0.4,),
        batches=(1,),
        precisions=("bf16",),
    )
    rows = list(measure_latency(spec, "cuda", print))
    assert {row["run"] for row in rows} == {GRAPH, LAUNCHED}
    reduced = next(row for row in rows if row["run"] == GRAPH and row["label"] == "mtr")
    assert reduced["speedup_high"] >= 1

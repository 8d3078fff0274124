"""The measurement of speed: figures that follow from the times, shares that add up, memory that is really held."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import reports
from backbones.common.errors import UserError
from methods.composition import Composition
from methods.reducer import Reducer
from suite.bench import machine
from suite.bench.grid import size_of, time_grid, time_run
from suite.bench.memory import peak_mib
from suite.bench.run import sentences, write_timing
from suite.bench.spec import BenchSpec
from suite.bench.speed import COLUMNS, Subject, _figures, legend, table, without_gain
from suite.bench.time_breakdown import KINDS, MARKED, kind_of, marked, profiled, shares
from suite.comparison import run_comparison
from suite.config.run_spec import RunSpec

pytestmark = pytest.mark.usefixtures("undrawn")

Specs = Callable[..., RunSpec]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One pass a timing."""
    monkeypatch.setattr("suite.bench.speed.LEAST_SECONDS", 0.0)


def mini() -> Any:
    from backbones import create_model

    return create_model("vim_mini")


def subject(
    removed: float = 0.4, label: str = "mtr", plan: dict[int, Any] | None = None
) -> Subject:
    return Subject(
        mini(), "vim_mini", label, removed or None, plan or {}, 2 * 10**6, removed, 0.01, 40, "key"
    )


@pytest.mark.usefixtures("small")
def test_figures_follow_from_the_times() -> None:
    dense = [0.2, 0.4, 0.2, 0.2, 0.2, 0.2, 0.2]
    times = [0.1, 0.1, 0.16, 0.1, 0.1, 0.1, 0.1]
    row = _figures(subject(), times, dense, 8)
    ratios = np.divide(dense, times)
    assert row["ms"] == pytest.approx(100)
    assert row["images_per_second"] == pytest.approx(80)
    assert row["speedup"] == np.median(ratios) == 2
    assert (row["speedup_low"], row["speedup_high"]) == (ratios.min(), ratios.max())
    assert (row["verdict"], row["interval"], row["tokens"], row["gflops"]) == (
        "faster",
        "interval",
        100,
        0.002,
    )
    assert not without_gain(row)
    assert _figures(subject(0.0, "none"), dense, dense, 8)["verdict"] == "dense"
    slow = _figures(subject(), [0.3, 0.5, *dense[2:]], dense, 8)
    assert (slow["verdict"], without_gain(slow)) == ("no gain shown", True)
    assert _figures(subject(), [2 * time for time in dense], dense, 8)["verdict"] == "slower"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("suite::scan", "scan"),
        ("mamba_suite::selective_scan", "scan"),
        ("_forward_scan_kernel", "scan"),
        ("mkldnn::_linear_pointwise", "gemm"),
        ("aten::bmm", "gemm"),
        ("sm90_xmma_gemm_bf16", "gemm"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", "gemm"),
        ("suite::convolve", "elementwise"),
        ("aten::silu", "elementwise"),
        ("aten::linalg_vector_norm", "elementwise"),
        ("void at::native::vectorized_elementwise_kernel", "elementwise"),
    ],
)
def test_work_is_told_by_its_name(name: str, kind: str) -> None:
    assert kind_of(name) == kind


@pytest.mark.usefixtures("small")
def test_shares_add_up_and_only_a_reduced_pass_has_some_of_the_method() -> None:
    model, images = mini(), torch.randn(2, 3, 40, 40)
    with torch.inference_mode():
        dense = shares(model, images, {})
        reducer = Reducer(Composition("keep-target-source", score="delta", feature="branch"), 40, 1)
        reduced = shares(model, images, {1: reducer})
    for found in (dense, reduced):
        assert tuple(found) == KINDS
        assert sum(found.values()) == pytest.approx(1)
        assert min(found.values()) >= 0
        assert found["scan"] > 0
        assert found["gemm"] > 0
    assert dense["reduction"] == 0
    assert reduced["reduction"] > 0


def test_marks_are_taken_off_again() -> None:
    import backbones.scan.cpu_conv as cpu_conv

    before = cpu_conv.convolve
    inside = []

    def broken() -> None:
        with marked():
            inside.append(cpu_conv.convolve)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    assert inside[0] is not before
    assert cpu_conv.convolve is before
    assert all(kind_of(name) in KINDS for name in MARKED.values())


def test_the_profile_knows_what_was_run() -> None:
    square = torch.randn(200, 200)
    spent, wall = profiled(lambda: square @ square, "cpu")
    assert 0 < spent["gemm"] <= wall


def test_peak_memory_is_what_is_held_at_once() -> None:
    def run() -> None:
        first = torch.ones(1 << 18)  # 1 MiB
        second = first + 1
        del first
        torch.ones(1 << 17).add_(float(second[0]))

    assert peak_mib(run, "cpu") == pytest.approx(2, abs=0.01)


def test_a_busy_machine_is_said() -> None:
    found = machine.state("cpu")
    assert found["threads"] == torch.get_num_threads()
    assert json.loads(json.dumps(found)) == found
    assert "load 3.0 on 4 cores" in machine.busy({"load": 3.0, "cores": 4})
    assert machine.busy({"load": 1.0, "cores": 4}) == ""


def timed(small: Specs, **asked: Any) -> tuple[list[dict[str, Any]], list[str]]:
    told: list[str] = []
    methods = ("mtr", "random[order=shuffled]")
    spec = BenchSpec(
        backbones=("vim_mini",), methods=methods, budgets=(0.3, 0.97), rounds=2, **asked
    )
    return list(time_grid(spec, "cpu", told.append)), told


def test_every_combination_is_timed_and_the_rest_told(small: Specs) -> None:
    rows, told = timed(small, batches=(1, 3), lengths=(16,))
    assert all(tuple(sorted(row)) == tuple(sorted(COLUMNS)) for row in rows)
    found = [(row["label"], row["batch"], row["tokens"], row["precision"]) for row in rows]
    base = [
        (label, batch, 100, "fp32")
        for batch in (1, 3)
        for label in ("none", "mtr", "random[order=shuffled]")
    ]
    assert found == [
        *base,
        ("none", 1, 16, "fp32"),
    ]  # the middle budget is one that 16 tokens do not meet
    assert sum("left out: mtr at 97 % on vim_mini: cannot remove" in line for line in told) == 3
    for row in rows:
        assert row["images_per_second"] == pytest.approx(1e3 * row["batch"] / row["ms"])
        assert row["removed"] == pytest.approx(0.3 if row["budget"] else 0, abs=0.002)
        assert sum(row[f"share_{kind}"] for kind in KINDS) == pytest.approx(1)
        assert row["peak_mib"] > 0
        assert (row["rounds"], row["interval"], row["threads"]) == (2, "range", 1)


@pytest.mark.parametrize("batches", [(1, 2, 1), (2,)])
def test_each_setting_is_timed_once(small: Specs, batches: tuple[int, ...]) -> None:
    rows, _ = timed(small, batches=batches, lengths=(100, 16, 100))
    found = [(row["label"], row["budget"], row["batch"], row["tokens"]) for row in rows]
    assert len(set(found)) == len(found)
    assert ("none", None, 1, 100) in found
    assert {tokens for label, _, batch, tokens in found if (label, batch) == ("none", 1)} == {
        100,
        16,
    }


def test_the_legend_says_what_is_there() -> None:
    gained = {"removed": 0.4, "verdict": "faster"}
    assert legend([gained]) == "peak MiB: what a pass holds at most beyond weights and images."
    assert legend([gained, gained | {"verdict": "slower"}]).startswith(
        "!: FLOPs fall and time was not shown to. peak"
    )


def test_lengths_are_square(small: Specs) -> None:
    assert size_of(mini(), 49) == 28
    with pytest.raises(UserError, match="--lengths are square numbers"):
        timed(small, batches=(1,), lengths=(50,))


def test_a_run_is_timed_into_its_own_report(small: Specs, tmp_path: Path) -> None:
    spec = small(
        methods=("mtr", "downsample"),
        budgets=(0.5,),
        baselines=False,
        gallery=0,
        batch=30,
        shard=30,
    )
    result = run_comparison(spec, tmp_path, quiet=True)
    rows = list(time_run(tmp_path, BenchSpec(batches=(2,), rounds=2), "cpu", lambda line: None))
    keys = {
        record["key"]
        for record in result.records
        if record["status"] == "ok" and record["seed"] == 0
    }
    assert {row["key"] for row in rows} == keys
    words = write_timing(tmp_path, rows)
    assert [text for _, text in sentences(rows)] == words
    for row in rows:
        stored = json.loads((tmp_path / "timing" / f"{row['key']}.json").read_text())
        assert stored["rows"] == [row]
        assert stored["images_per_second"] == row["images_per_second"]
    frame = pd.read_parquet(tmp_path / "analyses" / "bench.parquet")
    assert frame.ms.tolist() == [row["ms"] for row in rows]
    smaller = [row for row in rows if row["label"] == "downsample"]
    assert all(row["tokens"] < 100 for row in smaller)
    page = reports.build(tmp_path)
    assert 'id="bench"' in page.read_text("utf-8")
    assert (page.parent / "figures" / "bench-accuracy.png").is_file()
    assert "speed-up" in str([column.header for column in table(rows).columns])


def test_the_words_name_the_fastest_and_what_gains_nothing() -> None:
    base = {"backbone": "b", "machine": "M", "precision": "fp32", "threads": 2, "rounds": 7, "tokens": 9, "batch": 4,
            "interval": "interval", "images_per_second": 10.0}  # fmt: skip

    def row(label: str, budget: float | None, speedup: float, verdict: str) -> dict[str, Any]:
        gain = {"speedup": speedup, "speedup_low": speedup - 0.1, "speedup_high": speedup + 0.1}
        return (
            base
            | gain
            | {"label": label, "budget": budget, "removed": budget or 0.0, "verdict": verdict}
        )

    rows = [
        row("none", None, 1, "dense"),
        row("mtr", 0.4, 1.3, "faster"),
        row("tome", 0.4, 1.05, "no gain shown"),
    ]
    smaller = row("downsample", 0.4, 1.5, "faster") | {"removed": 0.264, "tokens": 4}
    [(_, text)] = sentences([*rows, smaller])
    assert (
        "With 26.4 % of FLOPs removed the smaller image (downsample) is 1.50 times as fast" in text
    )
    assert (
        "With 40.0 % of FLOPs removed the fastest method, mtr, is 1.30 times as fast (95 % interval 1.20"
        in text
    )
    longer = [found | {"tokens": 16, "speedup": 9.0} for found in rows]
    assert "9.00" not in dict(sentences([*rows, *longer]))["b"]
    [(name, text)] = sentences(rows)
    assert name == "b"
    assert "1.67 if time followed FLOPs" in text
    assert text.endswith("was not shown to in 1 of 2 timings: tome at 40 % (batch 4, 9 tokens).")

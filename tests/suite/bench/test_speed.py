"""Speed and memory: figures follow from the times, shares add up, memory is what is allocated."""

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
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
from methods.spec import parse
from reports.sections.bench import NEEDS
from suite.bench import machine
from suite.bench.cells import image_size_of, time_grid, time_left, time_run
from suite.bench.memory import peak_mib
from suite.bench.passes import Pass
from suite.bench.spec import BenchSpec
from suite.bench.speed import figures, gain_words, legend, table, without_gain
from suite.bench.time_breakdown import (
    COMPILED,
    KINDS,
    kind_of,
    named_kernels,
    profiled,
    time_breakdown,
)
from suite.bench.timing import best_seconds, in_rounds, seconds
from suite.bench.timing_files import sentences, write_timing
from suite.cli import run as run_cli
from suite.comparison import run_comparison
from suite.config.run_spec import RunSpec
from suite.config.spec_file import build_spec
from suite.plan.cells import Cell
from suite.plan.layout import layout
from suite.plan.settings import choose_settings

pytestmark = pytest.mark.usefixtures("undrawn")

Specs = Callable[..., RunSpec]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One pass a timing."""
    monkeypatch.setattr("suite.bench.timing.LEAST_SECONDS", 0.0)


def mini() -> Any:
    from backbones import create_model

    return create_model("vim_mini")


def cell(text: str = "mtr") -> Cell:
    """A cell of `vim_mini` that removes 40 % of the FLOPs, or the dense one."""
    spec = build_spec(backbones=("vim_mini",), budgets=(0.4,), baselines=False)
    chosen = choose_settings([parse("mtr")], spec)
    cells = layout("vim_mini", mini(), chosen, spec, "")
    return next(cell for cell in cells if cell.method.text == text)


@pytest.mark.usefixtures("small")
def test_figures_follow_from_the_times() -> None:
    reduced = cell()
    assert reduced.plan is not None
    dense = [0.2, 0.4, 0.2, 0.2, 0.2, 0.2, 0.2]
    times = [0.1, 0.1, 0.16, 0.1, 0.1, 0.1, 0.1]
    row = figures(reduced, times, dense, 8)
    ratios = np.divide(dense, times)
    assert row["ms"] == pytest.approx(100)
    assert row["images_per_second"] == pytest.approx(80)
    assert row["speedup"] == np.median(ratios) == 2
    assert (row["speedup_low"], row["speedup_high"]) == (ratios.min(), ratios.max())
    assert (row["verdict"], row["interval"], row["budget"]) == ("faster", "interval", 0.4)
    assert row["gflops"] == reduced.plan.total["flops"] / 1e9
    assert row["removed"] == pytest.approx(0.4, abs=0.002)
    assert not without_gain(row)
    assert figures(cell("none"), dense, dense, 8)["verdict"] == "dense"
    slow = figures(reduced, [0.3, 0.5, *dense[2:]], dense, 8)
    assert (slow["verdict"], without_gain(slow)) == ("no gain shown", True)
    assert figures(reduced, [2 * time for time in dense], dense, 8)["verdict"] == "slower"
    once = figures(reduced, [0.2], [0.1], 8)
    ends = [once[f"{name}_{end}"] for name in ("ms", "speedup") for end in ("low", "high")]
    assert (once["speedup"], once["verdict"], ends) == (0.5, "one round", [None] * 4)
    assert not without_gain(once)
    assert gain_words(once) == "0.50"


def test_timers_give_the_seconds_of_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.bench.timing.LEAST_SECONDS", 0.05)
    assert 0.01 <= seconds(lambda: time.sleep(0.01), "cpu") < 1
    assert 0.01 <= best_seconds(lambda: time.sleep(0.01), 0.02) < 1
    threads: list[int] = []
    torch.set_num_threads(2)
    seconds(lambda: threads.append(torch.get_num_threads()), "cpu")
    assert set(threads) == {2}


def test_what_is_compared_takes_turns() -> None:
    order: list[str] = []

    def run(name: str) -> float:
        order.append(name)
        return len(order)

    runs = {name: partial(run, name) for name in "ab"}
    assert in_rounds(runs, 3) == {"a": [1, 3, 5], "b": [2, 4, 6]}
    assert "".join(order) == "ababab"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("suite::cpu_scan", "scan"),
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
def test_the_kind_of_work_follows_from_the_name(name: str, kind: str) -> None:
    assert kind_of(name) == kind


@pytest.mark.usefixtures("small")
def test_shares_add_up_and_only_a_reduced_pass_has_some_of_the_method() -> None:
    whole = Pass(mini(), torch.randn(2, 3, 40, 40), {})
    with torch.inference_mode():
        dense = time_breakdown(whole)
        reducer = Reducer(Composition("keep-target-source", score="delta", feature="branch"), 40, 1)
        reduced = time_breakdown(replace(whole, plan={1: reducer}))
    for shares in (dense, reduced):
        assert tuple(shares) == KINDS
        assert sum(shares.values()) == pytest.approx(1)
        assert min(shares.values()) >= 0
        assert shares["scan"] > 0
        assert shares["gemm"] > 0
    assert dense["reduction"] == 0
    assert reduced["reduction"] > 0


def test_the_names_of_compiled_kernels_are_taken_off_again() -> None:
    originals = [getattr(module, name) for module, name in COMPILED]
    inside = []

    def broken() -> None:
        with named_kernels():
            inside.extend(getattr(module, name) for module, name in COMPILED)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    assert all(one is not other for one, other in zip(inside, originals, strict=True))
    assert [getattr(module, name) for module, name in COMPILED] == originals


def test_the_profile_knows_what_was_run() -> None:
    square = torch.randn(200, 200)
    times, wall = profiled(lambda: square @ square, "cpu")
    assert 0 < times["aten::mm"] <= wall


@pytest.mark.usefixtures("small")
def test_the_calls_of_the_reducers_are_those_of_the_pass() -> None:
    composition = Composition("keep-target-source", score="delta", feature="branch")
    plan = {site: Reducer(composition, 10, site) for site in (1, 2)}
    timed = Pass(mini(), torch.randn(2, 3, 40, 40), plan)
    with torch.inference_mode():
        lengths = [call().length for call in timed.reducer_calls()]
        assert lengths == [101 - 10, 101 - 20]
        assert 0 < timed.reducer_seconds() < 60
        assert torch.equal(
            timed(),
            timed.model.readout(timed.model.run(timed.model.embed(timed.images), plan=plan)),
        )


def test_peak_memory_is_what_is_held_at_once() -> None:
    def run() -> None:
        first = torch.ones(1 << 18)  # 1 MiB
        second = first + 1
        del first
        torch.ones(1 << 17).add_(float(second[0]))

    assert peak_mib(run, "cpu") == pytest.approx(2, abs=0.01)


def test_a_busy_machine_is_said() -> None:
    state = machine.state("cpu")
    assert state["threads"] == torch.get_num_threads()
    assert json.loads(json.dumps(state)) == state
    assert "load 3.0 on 4 cores" in machine.busy({"load": 3.0, "cores": 4})
    assert machine.busy({"load": 1.0, "cores": 4}) == ""


def timed(small: Specs, **settings: Any) -> tuple[list[dict[str, Any]], list[str]]:
    progress: list[str] = []
    values = {"methods": ("mtr", "random[order=shuffled]"), "budgets": (0.3, 0.97)} | settings
    spec = BenchSpec(backbones=("vim_mini",), rounds=2, **values)
    return list(time_grid(spec, "cpu", progress.append)), progress


def test_the_time_left_is_said_between_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 104.0, 112.0, 118.0, 130.0])
    monkeypatch.setattr("suite.bench.cells.perf_counter", lambda: next(clock))
    said: list[str] = []
    say = time_left(4, said.append)
    for done in range(1, 5):
        say(done)
    # not after the first, which is soon, nor the third, soon after a line, nor at the end
    assert said == ["2 of 4 rounds (50 %) in 12 s, about 12 s left"]


def test_every_combination_is_timed_and_the_rest_told(small: Specs) -> None:
    rows, progress = timed(small, batches=(1, 3), lengths=(16,))
    # what the report reads, and what identifies a row
    columns = {*NEEDS["bench"], "key", "image_size", "device", "kernel", "gflops"}
    assert all(columns <= row.keys() for row in rows)
    assert len({tuple(row) for row in rows}) == 1
    settings = [(row["label"], row["batch"], row["tokens"], row["precision"]) for row in rows]
    native = [
        (label, batch, 100, "fp32")
        for batch in (1, 3)
        for label in ("none", "mtr", "random[order=shuffled]")
    ]
    # the middle budget is one that 16 tokens do not meet
    assert settings == [*native, ("none", 1, 16, "fp32")]
    left_out = "left out: mtr at 97 % on vim_mini: cannot remove"
    assert sum(left_out in line for line in progress) == 3
    parts = [line for line in progress if " passes in 2 rounds, part " in line]
    assert [line.rpartition(", ")[2] for line in parts] == [f"part {n} of 3" for n in (1, 2, 3)]
    for row in rows:
        assert row["images_per_second"] == pytest.approx(1e3 * row["batch"] / row["ms"])
        assert row["removed"] == pytest.approx(0.3 if row["budget"] else 0, abs=0.002)
        assert sum(row[f"share_{kind}"] for kind in KINDS) == pytest.approx(1)
        assert row["peak_mib"] > 0
        assert (row["rounds"], row["interval"], row["threads"]) == (2, "range", 1)


@pytest.mark.parametrize("batches", [(1, 2, 1), (2,)])
def test_each_setting_is_timed_once(small: Specs, batches: tuple[int, ...]) -> None:
    few = {"methods": ("mtr",), "budgets": (0.3,)}
    rows, _ = timed(small, batches=batches, lengths=(100, 16, 100), **few)
    settings = [(row["label"], row["budget"], row["batch"], row["tokens"]) for row in rows]
    assert len(set(settings)) == len(settings)
    assert ("none", None, 1, 100) in settings
    of_one = {tokens for label, _, batch, tokens in settings if (label, batch) == ("none", 1)}
    assert of_one == {100, 16}


def test_the_legend_says_what_is_there() -> None:
    gained = {"removed": 0.4, "verdict": "faster"}
    memory = "peak MiB: the most that a pass allocates beyond weights and input."
    assert legend([gained]) == memory
    assert legend([gained, gained | {"verdict": "slower"}]).startswith(
        "!: FLOPs fall and time was not shown to. peak"
    )


def test_lengths_are_square(small: Specs) -> None:
    assert image_size_of(mini(), 49) == 28
    with pytest.raises(UserError, match="--lengths are square numbers"):
        timed(small, batches=(1,), lengths=(50,))


def test_a_run_is_timed_into_its_own_report(small: Specs, tmp_path: Path) -> None:
    spec = small(
        methods=("mtr", "downsample"),
        budgets=(0.5,),
        baselines=False,
        gallery=0,
        batch_size=30,
        shard_size=30,
    )
    result = run_comparison(spec, tmp_path, quiet=True)
    rows = list(time_run(tmp_path, BenchSpec(batches=(2,), rounds=2), "cpu", lambda line: None))
    keys = {record.key for record in result.records if record.status == "ok" and record.seed == 0}
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


def test_one_round_has_neither_interval_nor_verdict(
    small: Specs,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    line = "bench speed --backbones vim_mini --methods mtr --budgets 0.3 --batch-size 1 --rounds 1"
    assert run_cli([*line.split(), "--device", "cpu", "--lengths", "100"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "1 round" in out
    assert "1 rounds" not in out
    assert "One round shows nothing of how times vary" in out
    (page,) = tmp_path.glob("runs/*/report/*.html")
    text = page.read_text("utf-8")
    assert "one round" in text
    assert "95 % range" not in text
    assert "nan" not in re.findall(r"<td[^>]*>\s*(nan)\s*</td>", text)


def test_the_words_name_the_fastest_and_what_gains_nothing() -> None:
    base = {
        "backbone": "b",
        "kind": "images",
        "machine": "M",
        "precision": "fp32",
        "threads": 2,
        "rounds": 7,
        "tokens": 9,
        "batch": 4,
        "interval": "interval",
        "images_per_second": 10.0,
    }

    def row(label: str, budget: float | None, speedup: float, verdict: str) -> dict[str, Any]:
        gain = {"speedup": speedup, "speedup_low": speedup - 0.1, "speedup_high": speedup + 0.1}
        method = {"label": label, "budget": budget, "removed": budget or 0.0}
        return base | gain | method | {"verdict": verdict}

    rows = [
        row("none", None, 1, "dense"),
        row("mtr", 0.4, 1.3, "faster"),
        row("tome", 0.4, 1.05, "no gain shown"),
    ]
    smaller = row("downsample", 0.4, 1.5, "faster") | {"removed": 0.264, "tokens": 4}
    [(_, text)] = sentences([*rows, smaller])
    of_smaller = "With 26.4 % of FLOPs removed the smaller image (downsample) is 1.50 times as fast"
    of_fastest = "With 40.0 % of FLOPs removed the fastest method, mtr, is 1.30 times as fast (95 %"
    assert of_smaller in text
    assert f"{of_fastest} interval 1.20" in text
    longer = [row | {"tokens": 16, "speedup": 9.0} for row in rows]
    assert "9.00" not in dict(sentences([*rows, *longer]))["b"]
    [(_, of_clips)] = sentences([row | {"kind": "videos"} for row in rows])
    assert "dense 10.0 clips a second. With" in of_clips
    [(name, text)] = sentences(rows)
    assert name == "b"
    assert "dense 10.0 images a second. With" in text
    assert "1.67 if time followed FLOPs" in text
    assert text.endswith("was not shown to in 1 of 2 timings: tome at 40 % (batch 4, 9 tokens).")


def test_clips_are_called_so_on_the_terminal(small: Specs) -> None:
    rows, _ = timed(small, batches=(2,), lengths=(), methods=("mtr",), budgets=(0.3,))
    assert {row["kind"] for row in rows} == {"images"}
    clips = [row | {"kind": "videos"} for row in rows]
    for shown, head in (
        (rows, "images/s"),
        (clips, "clips/s"),
        ([*rows, *clips], "image or clips/s"),
    ):
        assert head in [column.header for column in table(shown).columns]

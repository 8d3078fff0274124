"""docs/gpu_tables.py: it goes on where it stopped, and its tables are those of docs/gpu.md."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

DOCS = Path(__file__).parent.parent / "docs"
AUTHORS = "mamba_ssm, as Vim's authors run it"
ENVIRONMENT = "gpu.json"


@pytest.fixture(scope="module")
def gpu_tables() -> ModuleType:
    """The script, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("gpu_tables", DOCS / "gpu_tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu_tables"] = module  # its classes look for their module
    spec.loader.exec_module(module)
    return module


def test_a_call_goes_on_where_the_one_before_stopped(
    gpu_tables: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    todo = [gpu_tables.Job("a", "one", "x --y", 3), gpu_tables.Job("a", "two", "", 4)]
    todo += [gpu_tables.Job("b", "three", "", 5), gpu_tables.Job("b", "four", "", 0.1)]
    clock = [0.0]
    ran: list[tuple[str, float]] = []

    def run(job: Any, seconds: float) -> list[dict[str, str]]:
        ran.append((job.part, seconds))
        clock[0] += 60 * job.minutes
        if job.part == "two" and len(ran) == 2:
            raise RuntimeError("the GPU is busy")
        return [{"of": job.part}]

    def measure() -> list[str]:
        missing: list[str] = gpu_tables.measure(tmp_path, todo, 9, run, lambda: clock[0])
        return missing

    # the third would end after 12 minutes; the fourth waits for it
    assert measure() == ["a two: the GPU is busy", "b three: not begun", "b four: not begun"]
    assert ran == [("one", 540), ("two", 360)]
    assert measure() == ["b four: not begun"]
    assert measure() == []
    assert measure() == []
    assert [part for part, _ in ran] == ["one", "two", "two", "three", "four"]
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["one"] == {
        "command": "python -m suite bench x --y",
        "seconds": 180,
        "rows": [{"of": "one"}],
    }
    # in the order of the page's benches, others by name
    assert gpu_tables.measured(tmp_path, "b") == [{"of": "four"}, {"of": "three"}]
    assert "python" in json.loads((tmp_path / ENVIRONMENT).read_text())
    assert len(capsys.readouterr().out.splitlines()) == 4


def scan(kernel: str, ms: float, gradients: bool = False) -> dict[str, Any]:
    return {
        "shape": "Vim-T", "dtype": "bf16", "gradients": gradients, "kernel": kernel,
        "milliseconds": ms, "bytes_milliseconds": 0.05, "exponentials_milliseconds": 0.1,
        "multiply_adds_milliseconds": 0.02, "error": 4e-3,
    }  # fmt: skip


def model(kernel: str, rate: float, method: str = "none", budget: float = 0.0) -> dict[str, Any]:
    return {
        "backbone": "vim_tiny", "precision": "bf16", "kernel": kernel, "method": method,
        "budget": budget, "images_per_second": rate, "eager_images_per_second": rate / 2,
        "speedup": rate / 1000, "reduction_share": 0.094, "peak_mib": rate / 4,
        "floor": [["scans", 1.0, 4.0], ["waiting", 0.0, 0.0]] if kernel == "triton" else [],
    }  # fmt: skip


def one_image(run: str, label: str, ms: float) -> dict[str, Any]:
    return {
        "backbone": "vim_tiny", "precision": "bf16", "run": run, "label": label, "ms": ms,
        "verdict": "dense" if label == "none" else "faster", "speedup": 2 / ms,
        "speedup_low": 1.0, "speedup_high": 3.0,
    }  # fmt: skip


def test_the_tables_are_those_of_the_page(
    gpu_tables: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kernels = [{"bytes": 4e12}, scan("triton", 0.2), scan("mamba_ssm", 1.0), scan("reference", 35)]
    models = [model("reference", 100), model(AUTHORS, 500), model("triton", 1000)]
    models += [model("triton", 1400, "mtr", 0.4), model("triton", 1900, "mtr", 0.6)]
    times = [one_image(run, label, ms) for run, label, ms in
             (("one graph", "none", 2), ("one graph", "mtr", 1), ("launched one by one", "none", 8),
              ("launched one by one", "mtr", 9))]  # fmt: skip
    engine = {
        "backbone": "vim_tiny_64", "precision": "fp32", "cells": 101, "alone": 9876.0,
        "apart": 8000.0, "together": 20000.0, "share": 0.81, "gain": 2.025,
    }  # fmt: skip
    for file, rows in (
        ("kernels", kernels),
        ("models", models),
        ("latency", times),
        ("engine", [engine]),
    ):
        (tmp_path / f"{file}.json").write_text(json.dumps({"all": {"rows": rows}}))
    page = tmp_path / "gpu.md"
    before = (DOCS / "gpu.md").read_text()
    page.write_text(before)
    gpu_tables.write(tmp_path, page)
    after = page.read_text()
    tables = (tmp_path / "tables.md").read_text()
    for line in (
        "| Vim-T | bf16 | forward | 35.0 | 1.00 | – | 0.20 | 5.0 | 0.10 | 0.50 | 4e-03 |",
        "| `vim_tiny` | bf16 | 100 | – | 500 | 1,000 | 2.00 | 500 |",
        "| `vim_tiny` | bf16 | `mtr` | – | – | 1.40 | – | 1.90 | 9.4 % |",
        "| `vim_tiny` | bf16 | 25 | – | 125 | 250 | 350 | – | – | – |",
    ):
        # each in place of the table that is there, which had more rows
        assert line in tables
        assert line in after
    for line in (
        "| `vim_tiny` | bf16 | scans | 1.000 | 4.000 | 0.25 |",
        "| `vim_tiny` | bf16 | the pass | 1.000 | 4.000 | 0.25 |",
        "| `vim_tiny` | bf16 | waiting | 0.000 | 0.000 | – |",
        "| `vim_tiny` | bf16 | `mtr` | 1.000 | 2.00 | 1.00 | 3.00 | 9.00 |",
        "| `vim_tiny_64` | fp32 | 101 | 9,876 | 8,000 | 0.81 | 20,000 | 2.02 |",
    ):
        assert line in tables
    kept = [line for line in before.splitlines() if not line.startswith("|")]
    assert [line for line in after.splitlines() if not line.startswith("|")] == kept
    page.write_text("no table\n")
    capsys.readouterr()
    gpu_tables.write(tmp_path, page)
    assert page.read_text() == "no table\n"
    assert capsys.readouterr().out.count("not in gpu.md, see tables.md") == 7


def test_every_command_is_one_of_the_benches(gpu_tables: ModuleType) -> None:
    jobs = list(gpu_tables.jobs())
    assert len({(job.file, job.part) for job in jobs}) == len(jobs)
    assert {job.file for job in jobs} == set(gpu_tables.TABLES)
    # each fits into a call, and all into three
    assert all(job.minutes <= 9 for job in jobs)
    assert all("--device cuda" in job.arguments for job in jobs)


@pytest.mark.slow
def test_the_whole_of_it_on_a_cpu(gpu_tables: ModuleType, tmp_path: Path) -> None:
    small = "--device cpu --backbone vim_nano[image_size=32,depth=3,dim=8] --precision fp32"
    methods = "--methods mtr --budget 0.4"
    todo = [
        gpu_tables.Job("models", "small", f"models {small} {methods} --batch-size 2", 2),
        gpu_tables.Job("latency", "small", f"latency {small} {methods} --rounds 2", 2),
        gpu_tables.Job("engine", "small", f"engine {small} {methods} --images 6 --rounds 2", 2),
        gpu_tables.Job("kernels", "small", "kernels --no-such-option", 2),
    ]
    (missing,) = gpu_tables.measure(tmp_path, todo, 9)
    assert missing.startswith("kernels small: ")
    assert "no-such-option" in missing
    for file in ("models", "latency", "engine"):
        assert gpu_tables.measured(tmp_path, file)
    found = gpu_tables.measured(tmp_path, "models")
    assert "the pass" in "\n".join(gpu_tables.markdown(gpu_tables.floor_table(found)))
    (engine,) = gpu_tables.measured(tmp_path, "engine")
    assert f"| {engine['cells']} |" in "\n".join(
        gpu_tables.markdown(gpu_tables.engine_table([engine]))
    )

"""Whole models on a GPU: the authors' block computes the same, and every row is measured."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor
from torch.nn import functional

from backbones.common.errors import UserError
from backbones.layers.block import Block
from backbones.layers.mixer import BidirectionalMixer
from backbones.scan import ScanInputs
from backbones.scan.reference import reference_scan
from backbones.sequence import new_sequence
from suite.bench import authors_block, cuda_kernels, whole_models
from suite.bench.floor import ELSE, PRODUCTS, SCANS, WAITING, Term
from suite.bench.spec import BenchSpec
from suite.bench.whole_models import (
    AUTHORS,
    ModelRow,
    above_one,
    floor_table,
    measure_models,
    profile_table,
    table,
)
from suite.cli import run as run_cli


def stand_in_conv(x: Tensor, weight: Tensor, bias: Tensor, activation: str) -> Tensor:
    """`causal_conv1d_fn` as documented: x (B, E, L), weight (E, taps)."""
    assert activation == "silu"
    padded = functional.pad(x, (weight.shape[1] - 1, 0))
    return functional.silu(functional.conv1d(padded, weight[:, None], bias, groups=x.shape[1]))


def stand_in_scan(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, *rest: Any
) -> Tensor:
    """`selective_scan_fn` as documented: tokens last, timescale not yet through its softplus."""
    bias, softplus = rest
    assert softplus is True
    tokens = [part.transpose(1, 2)[None] for part in (u, delta, B, C)]
    inputs = ScanInputs(*tokens[:2], A[None], *tokens[2:], D[None], z.transpose(1, 2), bias[None])
    return reference_scan(inputs, (False,), False).y.transpose(1, 2)


@pytest.mark.parametrize("divide", [False, True])
def test_the_authors_block_is_the_same_function(
    monkeypatch: pytest.MonkeyPatch, divide: bool
) -> None:
    monkeypatch.setattr(authors_block, "conv_function", lambda: stand_in_conv)
    monkeypatch.setattr(authors_block, "scan_function", lambda: stand_in_scan)
    torch.manual_seed(0)
    block = Block(8, BidirectionalMixer(8, d_state=4, divide=divide))
    block.mixer.kernel = "reference"
    tokens = new_sequence(torch.randn(2, 5, 8), [2], (1, 1, 4))
    tokens.residual.normal_()
    with torch.no_grad():
        plain = block(tokens)
        authors = authors_block.AuthorsBlock(block)(tokens)
    torch.testing.assert_close(authors.branch, plain.branch, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(authors.residual, plain.residual)
    with pytest.raises(ValueError, match="no trace"):
        authors_block.AuthorsBlock(block)(tokens, frozenset({"y"}))


def row(kernel: str, method: str = "none") -> ModelRow:
    return ModelRow(
        backbone="vim_tiny",
        kind="images",
        precision="bf16",
        kernel=kernel,
        method=method,
        budget=0.4,
        removed=0.4,
        images_per_second=1234.0,
        eager_images_per_second=1000.0,
        speedup=1.0,
        reduction_share=0.25,
        peak_mib=257.4,
        kernel_milliseconds={"gemm": 3.0, "scan": 1.0},
        floor=[Term(PRODUCTS, 1.5, 3.0), Term(SCANS, 0.75, 1.0)] if method == "none" else [],
    )


def test_tables_show_every_row_and_the_kernels_of_dense_and_the_first_method() -> None:
    rows = [row(AUTHORS), row("triton", "mtr"), row("triton", "hsa")]
    page = io.StringIO()
    console = Console(file=page, width=200)
    console.print(table(rows))
    for text in (AUTHORS, "1234", "1000", "25.0 %", " 257 ", "hsa"):
        assert text in page.getvalue()
    page.truncate(0)
    console.print(profile_table(rows))
    assert "hsa" not in page.getvalue()
    for text in ("gemm", "3.00", "75.0 %", "mtr at 0.4"):
        assert text in page.getvalue()
    page.truncate(0)
    console.print(floor_table(rows))
    for texts in ((PRODUCTS, "1.500", "3.000", "0.50"), ("the pass", "2.250", "4.000", "0.56")):
        assert any(all(text in line for text in texts) for line in page.getvalue().splitlines())


def test_a_floor_above_what_was_measured_is_warned_of() -> None:
    usual = row("triton")
    assert above_one([usual, row("triton", "mtr")]) == ""
    noisy = usual._replace(floor=[Term(PRODUCTS, 93.4, 44.789), Term(SCANS, 1.0, 2.0)])
    text = above_one([usual, noisy])
    assert text.startswith(
        f"Floors above what was measured: {PRODUCTS} of vim_tiny, bf16 (2.09 times). "
    )
    assert SCANS not in text


@pytest.fixture
def rehearsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU in place of the GPU, with stand-ins for the timer and the kernels."""

    def refuse(kernel: str, dtype: torch.dtype, headed: bool, device: str) -> str:
        return "kernel 'triton' is not here: install it" if kernel == "triton" else ""

    def timed(run: Callable[[], object], device: str) -> float:
        run()
        return 0.5

    monkeypatch.setattr(authors_block, "conv_function", lambda: stand_in_conv)
    monkeypatch.setattr(authors_block, "scan_function", lambda: stand_in_scan)
    stand_ins: dict[str, Any] = {
        "REDUCED_BY": ("reference",),
        "KERNELS": {"cpu": ("reference", AUTHORS, "triton")},
        "HEADED_KERNELS": {"cpu": ("reference", "chunked")},
        "obstacle": refuse,
        "seconds": timed,
        "profiled": lambda run, device: ({"norm": 0.001, "scan": 0.003}, 0.005),
    }
    for name, value in stand_ins.items():
        monkeypatch.setattr(whole_models, name, value)
    monkeypatch.setattr("suite.bench.passes.seconds", timed)


def test_a_scan_with_heads_has_kernels_of_its_own(rehearsed: None) -> None:
    name = "adventurer_nano[image_size=32,depth=3,dim=8]"
    spec = BenchSpec(backbones=(name,), methods=("mtr",), budgets=(0.2,), batches=(2,))
    notes: list[str] = []
    rows = list(measure_models(spec, "cpu", notes.append))
    assert "Mamba-2" in next(note for note in notes if "no floor" in note)
    assert [(row.kernel, row.method) for row in rows] == [
        ("reference", "none"),
        ("reference", "mtr"),
        ("chunked", "none"),
    ]


def test_a_wrong_kernel_is_an_error_and_an_absent_one_an_obstacle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def raising(message: str) -> Callable[..., None]:
        def choose(*_: object) -> None:
            raise UserError(message)

        return choose

    monkeypatch.setattr(cuda_kernels, "chosen", raising("scan kernel 'triton' is wrong here"))
    with pytest.raises(UserError, match="wrong"):
        cuda_kernels.obstacle("triton", torch.float32)
    monkeypatch.setattr(cuda_kernels, "chosen", raising("kernel 'triton' finds no CUDA device"))
    assert "no CUDA device" in cuda_kernels.obstacle("triton", torch.float32)


def test_the_whole_measurement_from_the_command_line(
    rehearsed: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = "vim_nano[image_size=32,depth=3,dim=8]"
    line = (
        "bench models --device cpu --precision fp32 --batch-size 2 --budget 0.2,0.99 "
        "--methods mtr,hsa --threads 1"
    )
    file = tmp_path / "models.json"
    assert run_cli([*line.split(), "--backbone", model, "--save", str(file), "--json"]) == 0
    out, progress = capsys.readouterr()
    rows = json.loads(out)
    assert rows == json.loads(file.read_text())
    dense = {row["kernel"] for row in rows if row["method"] == "none"}
    assert dense == {"reference", AUTHORS}
    authors = next(row for row in rows if row["kernel"] == AUTHORS)
    # the longest first
    assert list(authors["kernel_milliseconds"].items()) == [("scan", 3.0), ("norm", 1.0)]
    reduced = [row for row in rows if row["method"] != "none"]
    assert [(row["method"], row["budget"]) for row in reduced] == [("mtr", 0.2), ("hsa", 0.2)]
    for entry in reduced:
        assert abs(entry["removed"] - entry["budget"]) < 0.05
        assert (entry["speedup"], entry["reduction_share"]) == (1.0, 1.0)
        assert entry["peak_mib"] > 0
    assert progress.count(" at 99 % on ") == 2
    assert "triton: left out, kernel 'triton' is not here" in progress


def test_what_was_measured_before_an_interruption_is_kept(
    rehearsed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> Iterator[ModelRow]:
        yield row("triton")
        raise UserError("the GPU is gone: look for it")

    monkeypatch.setattr(whole_models, "measure_models", interrupted)
    file = tmp_path / "models.json"
    assert run_cli(["bench", "models", "--device", "cpu", "--save", str(file)]) == 2
    assert [entry["images_per_second"] for entry in json.loads(file.read_text())] == [1234]


@pytest.mark.parametrize("saved", [False, True])
def test_an_interruption_says_what_is_kept(
    saved: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> Iterator[ModelRow]:
        yield row("triton")
        raise KeyboardInterrupt

    monkeypatch.setattr(whole_models, "measure_models", interrupted)
    file = tmp_path / "models.json"
    line = ["bench", "models", "--device", "cpu", *(["--save", str(file)] if saved else [])]
    assert run_cli(line) == 130
    kept = f"{file} has what was measured before" if saved else "nothing was kept"
    error = capsys.readouterr().err
    assert f"interrupted: {kept}, and a rerun measures all anew" in error
    assert "resume" not in error


@pytest.mark.gpu
def test_dense_and_reduced_models_are_measured() -> None:
    spec = BenchSpec(
        backbones=("vim_nano",),
        methods=("mtr", "hsa"),
        budgets=(0.2, 0.4),
        batches=(4,),
        precisions=("bf16", "fp32", "tf32"),
    )
    rows = list(measure_models(spec, "cuda", print))
    assert {"reference", "triton"} <= {row.kernel for row in rows}
    reduced = [row for row in rows if row.method != "none"]
    assert len(reduced) == 3 * 2 * 2
    for dense in rows:
        if dense.kernel == "triton" and dense.method == "none":
            times = {term.name: term.ms for term in dense.floor}
            assert min(times[PRODUCTS], times[SCANS], times[ELSE]) > 0
            assert all(term.floor_ms > 0 for term in dense.floor if term.name != WAITING)
    for entry in rows:
        assert entry.images_per_second > 0
        assert entry.peak_mib > 0
    for entry in reduced:
        assert abs(entry.removed - entry.budget) < 0.01
        assert 0 < entry.reduction_share < 1

"""Whole models on a GPU: the authors' block is the same function as ours, and every row is measured."""

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
from suite.bench import authors_block as stock_block
from suite.bench import cuda_models
from suite.bench.cuda_models import AUTHORS, ModelRow, measure_models, profile_table, table
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
    monkeypatch.setattr(stock_block, "conv_function", lambda: stand_in_conv)
    monkeypatch.setattr(stock_block, "scan_function", lambda: stand_in_scan)
    torch.manual_seed(0)
    block = Block(8, BidirectionalMixer(8, d_state=4, divide=divide))
    block.mixer.kernel = "reference"
    tokens = new_sequence(torch.randn(2, 5, 8), [2], (1, 1, 4))
    tokens.residual.normal_()
    with torch.no_grad():
        wanted = block(tokens)
        found = stock_block.StockBlock(block)(tokens)
    torch.testing.assert_close(found.branch, wanted.branch, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.residual, wanted.residual)
    with pytest.raises(ValueError, match="no trace"):
        stock_block.StockBlock(block)(tokens, frozenset({"y"}))


def test_tables_show_every_row() -> None:
    row = ModelRow(
        "vim_tiny",
        "bf16",
        AUTHORS,
        "none",
        0.0,
        0.0,
        1234.0,
        1000.0,
        1.0,
        0.25,
        257.4,
        {"gemm": 3.0, "scan": 1.0},
    )
    page = io.StringIO()
    console = Console(file=page, width=200)
    console.print(table([row]))
    console.print(profile_table([row]))
    assert all(
        text in page.getvalue() for text in (AUTHORS, "1234", "25.0 %", " 257 ", "gemm", "75.0 %")
    )


@pytest.fixture
def rehearsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU in the place of the GPU: the same course of the measurement with stand-ins for clock, graph and kernels."""

    def refuse(kernel: str, device: str, dtype: torch.dtype) -> None:
        if kernel == "triton":
            raise UserError("kernel 'triton' is not here: install it")

    def timed(run: Callable[[], object], repeats: int = 20, warm_ups: int = 3) -> float:
        run()
        return 0.5

    monkeypatch.setattr(stock_block, "conv_function", lambda: stand_in_conv)
    monkeypatch.setattr(stock_block, "scan_function", lambda: stand_in_scan)
    stand_ins: dict[str, Any] = {
        "DEVICE": "cpu",
        "REDUCED_BY": "reference",
        "PRECISIONS": ("fp32",),
        "KERNELS": ("reference", AUTHORS, "triton"),
        "chosen": refuse,
        "cuda_seconds": timed,
        "captured": lambda run, given: lambda: run(given),
        "_kernel_milliseconds": lambda run: {"scan": 3.0},
    }
    for name, value in stand_ins.items():
        monkeypatch.setattr(cuda_models, name, value)
    monkeypatch.setattr("suite.system.hardware.pick_device", lambda device: "cuda")


def test_the_whole_measurement_from_the_command_line(
    rehearsed: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = "vim_nano[image_size=32,depth=3,dim=8]"
    line = [
        "bench",
        "--models",
        "--device",
        "cuda",
        "--backbone",
        model,
        "--batch",
        "2",
        "--budget",
        "0.2,0.99",
    ]
    line += [
        "--methods",
        "mtr,hsa",
        "--save",
        str(tmp_path / "models.json"),
        "--threads",
        "1",
        "--json",
    ]
    precision = torch.get_float32_matmul_precision()
    assert run_cli(line) == 0
    torch.set_float32_matmul_precision(precision)
    out, told = capsys.readouterr()
    rows = json.loads(out)
    assert rows == json.loads((tmp_path / "models.json").read_text())
    assert {row["kernel"] for row in rows if row["method"] == "none"} == {"reference", AUTHORS}
    reduced = [row for row in rows if row["method"] != "none"]
    assert [(row["method"], row["budget"]) for row in reduced] == [("mtr", 0.2), ("hsa", 0.2)]
    for entry in reduced:
        assert abs(entry["removed"] - entry["budget"]) < 0.05
        assert (entry["speedup"], entry["reduction_share"]) == (1.0, 1.0)
        assert entry["peak_mib"] > 0
    assert told.count("at 0.99: left out") == 2
    assert "triton: left out, kernel 'triton' is not here" in told


def test_what_was_measured_before_a_cut_is_kept(
    rehearsed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*given: object) -> Iterator[ModelRow]:
        yield ModelRow("vim_small", "bf16", "triton", "none", 0, 0, 190.0, 190.0, 1.0, 0.1, 1.0)
        raise UserError("the GPU is gone: look for it")

    monkeypatch.setattr(cuda_models, "measure_models", cut)
    assert run_cli(["bench", "--models", "--save", str(tmp_path / "models.json")]) == 2
    assert [
        entry["images_per_second"] for entry in json.loads((tmp_path / "models.json").read_text())
    ] == [190]


@pytest.mark.gpu
def test_dense_and_reduced_models_are_measured() -> None:
    rows = list(measure_models(("vim_nano",), "mtr,hsa", (0.2, 0.4), batch=4, tell=print))
    assert {"reference", "triton"} <= {row.kernel for row in rows}
    reduced = [row for row in rows if row.method != "none"]
    assert len(reduced) == 2 * 2 * 2
    for row in rows:
        assert row.images_per_second > 0
        assert row.peak_mib > 0
    assert all(
        abs(row.removed - row.budget) < 0.01 and 0 < row.reduction_share < 1 for row in reduced
    )

"""Whole models on a GPU: the authors' block is the same function as ours, and every row is measured."""

import io
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor
from torch.nn import functional

from backbones.block import Block
from backbones.mixer import BidirectionalMixer
from backbones.scan import ScanInputs
from backbones.scan.reference import reference_scan
from backbones.sequence import new_sequence
from suite.bench import stock_block
from suite.bench.cuda_models import AUTHORS, ModelRow, measure_models, profile_table, table


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
def test_the_authors_block_is_the_same_function(monkeypatch: pytest.MonkeyPatch, divide: bool) -> None:
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
        "vim_tiny", "bf16", AUTHORS, "none", 0.0, 0.0, 1234.0, 1000.0, 1.0, 0.25, 2.5, {"gemm": 3.0, "scan": 1.0}
    )
    page = io.StringIO()
    console = Console(file=page, width=200)
    console.print(table([row]))
    console.print(profile_table([row]))
    assert all(text in page.getvalue() for text in (AUTHORS, "1234", "25.0 %", "2.50", "gemm", "75.0 %"))


@pytest.mark.gpu
def test_dense_and_reduced_models_are_measured() -> None:
    rows = list(measure_models(("vim_nano",), "mtr,hsa", (0.2, 0.4), batch=4))
    assert {"reference", "triton"} <= {row.kernel for row in rows}
    reduced = [row for row in rows if row.method != "none"]
    assert len(reduced) == 2 * 2 * 2
    for row in rows:
        assert row.images_per_second > 0
        assert row.peak_gib > 0
    assert all(abs(row.flops_cut - row.budget) < 0.01 and 0 < row.reduction_share < 1 for row in reduced)

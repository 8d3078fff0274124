"""A block adds, normalises and mixes, by one pass or by three."""

from dataclasses import fields
from typing import Any

import pytest
import torch

from backbones.layers.block import Block
from backbones.layers.mixer import BidirectionalMixer
from backbones.layers.norm import RMSNorm
from backbones.sequence import TokenSequence, new_sequence

pytestmark = pytest.mark.usefixtures("one_thread")


def sequence(
    batch: int, length: int, dim: int, dtype: torch.dtype = torch.float32
) -> TokenSequence:
    """Tokens with a residual that is not zero."""
    tokens = new_sequence(
        torch.randn(batch, length, dim, dtype=dtype), [length // 2], (1, 1, length - 1)
    )
    tokens.residual.normal_()
    return tokens


@pytest.mark.parametrize("kernel", ["auto", "reference"])
@pytest.mark.parametrize("dim", [8, 40, 192])
def test_adds_normalises_and_mixes(kernel: str, dim: int) -> None:
    block = Block(dim, BidirectionalMixer(dim, d_state=4), eps=1e-3)
    block.mixer.kernel = kernel
    with torch.no_grad():
        block.norm.weight.normal_()
        tokens = sequence(2, 70, dim)
        after = block(tokens, frozenset({"delta_mean"}))
        total = (tokens.residual + tokens.branch).double()
        u = (
            total
            / (total.square().mean(dim=-1, keepdim=True) + 1e-3).sqrt()
            * block.norm.weight.double()
        )
        expected, _ = block.mixer(u.float())
    assert torch.equal(after.residual, tokens.residual + tokens.branch)
    torch.testing.assert_close(after.branch, expected, rtol=1e-4, atol=1e-5)
    assert after.trace is not None
    assert after.trace.delta_mean is not None


def test_leaves_the_rest_of_the_sequence_alone() -> None:
    tokens = sequence(2, 5, 8)
    before = {field.name: getattr(tokens, field.name) for field in fields(tokens)}
    copies = tokens.branch.clone(), tokens.residual.clone()
    with torch.no_grad():
        after = Block(8, BidirectionalMixer(8))(tokens)
    for name in set(before) - {"branch", "residual", "trace"}:
        assert getattr(after, name) is before[name], name
    assert torch.equal(tokens.branch, copies[0])
    assert torch.equal(tokens.residual, copies[1])


def test_carry_reaches_the_scan() -> None:
    block = Block(8, BidirectionalMixer(8))
    tokens = sequence(1, 6, 8)
    carried: Any = {"carry": torch.full((2, 1, 6, 16), 100.0)}
    with torch.no_grad():
        forgetful = block(TokenSequence(**vars(tokens) | carried)).branch
        assert not torch.equal(forgetful, block(tokens).branch)


@pytest.mark.parametrize(
    ("model", "residual"),
    [
        (torch.float32, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_residual_is_at_least_fp32(model: torch.dtype, residual: torch.dtype) -> None:
    block = Block(8, BidirectionalMixer(8)).to(model)
    after = block(block(sequence(2, 5, 8, model)))
    assert after.branch.dtype == model
    assert after.residual.dtype == residual


def test_norm_divides_by_the_root_mean_square() -> None:
    norm = RMSNorm(2, eps=0.0)
    assert torch.allclose(norm(torch.tensor([[3.0, 4.0]])), torch.tensor([[3.0, 4.0]]) / 12.5**0.5)
    assert RMSNorm(2).bfloat16()(torch.ones(1, 2)).dtype == torch.bfloat16

"""What a reduction is said to cost, against what the counters of torch and fvcore see it do."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from hypothesis import given, settings
from hypothesis import strategies as st
from option_values import BY_COUNT
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from backbones.sequence import TokenSequence
from methods.composition import Composition
from methods.reducer import Reducer
from methods.spec import parse

TEXTS = [
    *BY_COUNT,
    "mtr[feature=b]",
    "mtr[feature=delta,targets=3]",
    "mtr[targets=0.3]",
    "mtr[weights=drop]",
    "tome[feature=c]",
    "tome[weights=drop]",
    "tome[feature=keys,sources=odd]",
    "evit[score=cls-attention]",
    "random[weights=mean]",
    "evit[score=hidden-attention]",
    "evit[decay=false]",
    "tome[cls_window=2]",
    "pool[cls_window=1]",
    "activation[reading=projected]",
    "mtr[matching=halves,cls_window=1]",
    "mtr[matching=neighbours]",
    "mtr[window=3,sensitivity=2]",
    "pumer[prune_ratio=0.3,cls_window=1]",
    "utr[feature=b]",
    "mame[matching=keep-target-source,targets=2]",
]


@dataclass(frozen=True)
class Sizes:
    """The sizes of the fabricated tokens."""

    dim: int = 6
    inner: int = 8
    states: int = 3
    specials: int = 1
    directions: int = 2
    heads: int = 2
    head_width: int = 6

    @property
    def timescales(self) -> int:
        return self.inner


def composition_of(text: str) -> Composition:
    composition = parse(text).composition()
    assert composition is not None
    return composition


@settings(max_examples=60, deadline=None)
@given(
    text=st.sampled_from(TEXTS), height=st.integers(1, 5), width=st.integers(1, 5), data=st.data()
)
def test_matmuls_are_counted_exactly(
    fabricate: Callable[..., TokenSequence], text: str, height: int, width: int, data: st.DataObject
) -> None:
    composition = composition_of(text)
    remove = data.draw(st.integers(0, composition.cap(height * width)))
    tokens = fabricate(batch=2, grid=(1, height, width), special=(height * width // 2,))
    # With gradients the plain path is taken: no counter sees into a compiled one.
    with torch.enable_grad(), FlopCounterMode(display=False) as counter:
        Reducer(composition, remove, site=1)(tokens)
    assert (
        counter.get_total_flops()
        == 2 * 2 * composition.cost(height * width, remove, Sizes()).matmul_macs
    )


class Reducing(nn.Module):
    """A reducer as a module of one tensor, which is what fvcore can trace."""

    def __init__(self, tokens: TokenSequence, reducer: Reducer) -> None:
        super().__init__()
        self.tokens = tokens
        self.reducer = reducer

    def forward(self, branch: Tensor) -> Tensor:
        return self.reducer(replace(self.tokens, branch=branch)).branch


@pytest.mark.parametrize(
    "text", ["mtr", "tome", "random[weights=mean]", "pool", "utr", "pumer", "stm", "mame", "hsa"]
)
def test_fvcore_agrees(fabricate: Callable[..., TokenSequence], text: str) -> None:
    # An image alone is multiplied twice, so that its bits are those it has in a batch.
    tokens, composition = fabricate(batch=2), composition_of(text)
    with torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        analysis = FlopCountAnalysis(
            Reducing(tokens, Reducer(composition, 5, site=1)), (tokens.branch,)
        )
        counts = (
            analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).by_operator()
        )
    products = sum(counts.get(name, 0) for name in ("matmul", "bmm", "linear", "addmm"))
    assert products == 2 * composition.cost(16, 5, Sizes()).matmul_macs


def test_closed_forms_by_hand() -> None:
    sizes = Sizes(dim=192, inner=384, states=16)
    # 11 sources, 11 targets of width 192.
    assert composition_of("mtr").cost(196, 11, sizes).matmul_macs == 11 * 11 * 192
    assert composition_of("tome").cost(195, 11, sizes).matmul_macs == 98 * 97 * 192
    # The score averages 384 channels in two directions for 197 tokens and adds both; 22 features
    # are a sum, and their length a square, a sum and a root; lengths are divided out of 11 x 11
    # products; in both streams 11 sources and their targets are scaled, subtracted and added.
    expected = 197 * (2 * 385 + 1) + 22 * (192 * 3 + 1) + 2 * 11 * 11 + 2 * 192 * 4 * 11
    assert composition_of("mtr").cost(196, 11, sizes).arithmetic == expected
    assert composition_of("utr").cost(195, 11, sizes).matmul_macs == 98 * 97 * 192
    # Of 11 tokens to go PuMer prunes 6, and compares the 190 left.
    assert composition_of("pumer").cost(196, 11, sizes).matmul_macs == 95 * 95 * 192
    assert composition_of("tome[cls_window=2]").cost(196, 11, sizes).matmul_macs == 96 * 96 * 192
    # HSA: a mean over 384 channels for each token's score, and 4 E for each of the dropped.
    assert composition_of("hsa").cost(196, 11, sizes).arithmetic == 197 * 385 + 11 * 4 * 384
    # In the branch half of UTR's sources are merged (11 - 6), in the residual all.
    merged, compared = 4 * 192 * (5 + 11), 196 * (2 * 192 + 1) + 2 * 98 * 98
    assert composition_of("utr").cost(196, 11, sizes).arithmetic == 197 * 385 + compared + merged
    # Of keys of one head 195 are averaged over heads and measured, 98 x 97 compared; 11 are merged
    # in both streams.
    attention = replace(sizes, heads=3, head_width=64)
    keyed = composition_of("tome[feature=keys]").cost(195, 11, attention)
    assert keyed.matmul_macs == 98 * 97 * 64
    assert keyed.arithmetic == 195 * (64 * (3 + 2) + 1) + 2 * 98 * 97 + 4 * 192 * 2 * 11
    assert (
        composition_of("evit[score=cls-attention,fused=false]").cost(196, 11, attention).arithmetic
        == (3 + 1) * 197
    )
    assert composition_of("stride").cost(196, 100, sizes).arithmetic == 0
    assert composition_of("tome").cost(196, 0, sizes).arithmetic == 0


@pytest.mark.parametrize("text", TEXTS)
def test_arithmetic_grows_with_the_sizes(text: str) -> None:
    composition = composition_of(text)
    small, large = (
        composition.cost(100, 20, Sizes(dim, 2 * dim, 16)).arithmetic for dim in (192, 384)
    )
    assert 0 <= small <= large
    assert (large > 0) == (text not in ("stride", "random"))

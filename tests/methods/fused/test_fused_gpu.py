"""The reduction's Triton programs against the plain path: in the interpreter, and at real sizes on a GPU."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from option_values import BY_COUNT
from torch import Tensor

from backbones.sequence import TokenSequence
from methods import reduce as compose
from methods.fused import dispatch as inference
from methods.fused.gpu import reduce as gpu
from methods.fused.gpu.attention import attended
from methods.fused.gpu.ranking import clipped_mean, ranked
from methods.fused.gpu.similarity import most_similar
from methods.parts.hidden_attention import hidden_attention
from methods.parts.score import SiteContext
from methods.spec import parse

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# One of each program; the interpreter takes half a second a method.
QUICK = (
    "tome",
    "evit",
    "mtr[weights=delta-b,cls_window=1]",
    "mtr[score=hidden-attention,direction=forward]",
)
MOVED = ("branch", "residual", "position", "size", "special", "owner", "carry")
TEXTS = [
    *BY_COUNT,
    *(
        "mtr[drop_ratio=0.5]",
        "mtr[weights=pair]",
        "mtr[weights=delta-b,cls_window=1]",
        "mtr[targets=2,window=3]",
    ),
    *(
        "tome[sources=odd]",
        "tome[neighbour_rank=2]",
        "tome[feature=b]",
        "evit[weights=size]",
        "hsa[direction=backward]",
        "mtr[score=hidden-attention,direction=forward]",
        "evit[decay=false,direction=backward]",
        "activation[reading=gated]",
        "activation[reading=projected]",
    ),
]


def moved_to(device: str, tokens: TokenSequence) -> TokenSequence:
    def there(of: Any) -> Any:
        named = {f.name: getattr(of, f.name) for f in fields(of)}
        return replace(
            of,
            **{
                name: value.to(device) for name, value in named.items() if isinstance(value, Tensor)
            },
        )

    assert tokens.trace is not None
    return replace(there(tokens), trace=there(tokens.trace))


def both(text: str, tokens: TokenSequence, remove: int) -> tuple[TokenSequence, TokenSequence]:
    """By the programs, and by the plain path."""
    composition = parse(text).composition()
    assert composition is not None
    remove = min(
        remove, composition.cap(tokens.length - tokens.special.shape[1], tokens.special.shape[1])
    )
    if not gpu.serves(composition, tokens):
        pytest.skip("the plain path serves it")
    place = SiteContext(tokens, tokens.patches(), seed=3, site=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference, "launch_on", lambda device: gpu.launch)
        fast = inference.reduced(composition, place, remove)
    return fast, compose.reduced(composition, place, remove)


@pytest.mark.parametrize(
    "text",
    [text if text in QUICK else pytest.param(text, marks=pytest.mark.slow) for text in TEXTS],
)
def test_the_same_tokens_as_the_plain_path(
    fabricate: Callable[..., TokenSequence], text: str
) -> None:
    tokens = moved_to(DEVICE, fabricate(batch=2, worn=3, special=(2, 9)))
    bare = replace(
        moved_to(DEVICE, fabricate(batch=1, grid=(1, 3, 4), seed=1)), owner=None, carry=None
    )
    for given in (tokens, bare):
        found, wanted = both(text, given, 5)
        for name in MOVED:
            one, other = getattr(found, name), getattr(wanted, name)
            assert (one is None) == (other is None), name
            if other is not None:
                torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
        assert found.weighted == wanted.weighted
        assert found.trace is None


def test_half_precision_is_worked_out_in_fp32(fabricate: Callable[..., TokenSequence]) -> None:
    tokens = moved_to(DEVICE, fabricate(batch=1))
    tokens = replace(tokens, branch=tokens.branch.bfloat16())
    found, wanted = both("mtr", tokens, 6)
    assert found.branch.dtype == torch.bfloat16
    torch.testing.assert_close(found.residual, wanted.residual)
    torch.testing.assert_close(found.branch.float(), wanted.branch.float(), rtol=1 / 64, atol=1e-3)


def test_ranks_are_those_of_a_stable_sort_and_a_permutation_whatever_the_keys() -> None:
    keys = torch.tensor([[1.0, 3.0, -0.0, 3.0, 0.0, -torch.inf, torch.inf, 1.0] * 9]).to(DEVICE)
    places = torch.arange(72, device=DEVICE)[None]
    wanted = keys.argsort(dim=1, descending=True, stable=True)
    assert torch.equal(ranked(keys, (places,), 72)[0], wanted)
    first, second = ranked(keys, (places, places + 100), 5)
    assert torch.equal(first, wanted[:, :5])
    assert torch.equal(second, first + 100)
    keys[0, ::5] = torch.nan
    assert torch.equal(ranked(keys, (places,), 72)[0].sort(dim=1).values, places)


@pytest.mark.parametrize("pair", [False, True])
def test_the_most_similar_is_the_first_of_the_largest_cosines(pair: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    features = tuple(
        torch.randn(2, 90, 70, generator=generator).to(DEVICE) for _ in range(1 + pair)
    )
    ones, others = (
        torch.arange(40).expand(2, -1).to(DEVICE),
        torch.arange(89, 39, -1).expand(2, -1).to(DEVICE),
    )
    features[0][:, 45] = features[0][:, 77]
    features[-1][:, 45] = features[-1][:, 77]
    features[0][:, 3] = features[0][:, 45]
    features[-1][:, 3] = features[-1][:, 45]
    best, edge = most_similar(features, ones, others)
    total = torch.stack(features).sum(0).double()
    unit = total / total.norm(dim=-1, keepdim=True)
    cosine = unit[:, :40] @ unit[:, 40:].flip(1).transpose(1, 2)
    torch.testing.assert_close(edge.double(), cosine.amax(2), rtol=1e-4, atol=1e-5)
    assert best[0, 3] == 77
    assert float((best == others.gather(1, cosine.argmax(2))).float().mean()) > 0.98


@pytest.mark.parametrize(
    "direction",
    ["both", *(pytest.param(name, marks=pytest.mark.slow) for name in ("forward", "backward"))],
)
def test_hidden_attention(direction: str) -> None:
    generator = torch.Generator().manual_seed(0)
    delta = torch.rand(2, 3, 9, 70, generator=generator) / 4
    A = -torch.rand(2, 70, 5, generator=generator)
    B, C = (torch.randn(2, 3, 9, 5, generator=generator) for _ in range(2))
    readers = torch.tensor([[0, 4], [8, 3], [5, 6]])
    found = attended(*(part.to(DEVICE) for part in (delta, A, B, C, readers)), direction)
    wide = [part.double() for part in (delta, A, B, C)]
    expected = hidden_attention(*wide, readers, direction)
    torch.testing.assert_close(found.cpu().double(), expected, rtol=1e-5, atol=1e-7)


def test_clipped_mean() -> None:
    y = torch.randn(2, 5, 40, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    torch.testing.assert_close(clipped_mean(y), y.clamp_min(0).mean(-1))


@pytest.mark.gpu
@pytest.mark.parametrize("text", TEXTS)
def test_real_sizes(fabricate: Callable[..., TokenSequence], text: str) -> None:
    sizes: dict[str, Any] = {
        "grid": (1, 14, 14),
        "special": (98,),
        "dim": 384,
        "inner": 768,
        "states": 16,
    }
    composition = parse(text).composition()
    assert composition is not None
    for worn, remove in ((0, 1), (0, 20), (90, 41)):
        tokens = moved_to(DEVICE, fabricate(batch=8, worn=worn, seed=remove, **sizes))
        if gpu.serves(composition, tokens):
            assert inference.serves(composition, tokens)
        found, wanted = both(text, tokens, remove)
        torch.testing.assert_close(found.position, wanted.position)
        for name in ("branch", "residual", "size", "carry"):
            torch.testing.assert_close(
                getattr(found, name), getattr(wanted, name), rtol=1e-4, atol=1e-5
            )
        assert torch.equal(found.special, wanted.special)
        assert torch.equal(found.owner, wanted.owner)  # type: ignore[arg-type]

"""HSA's alignment: a scan of the survivors is the scan of all tokens with the dropped ones' input taken away."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from backbones.scan import selective_scan
from backbones.sequence import TokenSequence, Trace
from methods import METHODS
from methods.reducer import Reducer
from methods.spec import parse

WIDTH, STATES = 8, 3
Fabricate = Callable[..., TokenSequence]


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def softplus(value: float) -> float:
    return math.log1p(math.exp(value))


def whole_scan(delta: Tensor, u: Tensor, A: Tensor, B: Tensor, C: Tensor, backward: bool) -> Tensor:
    """One image and direction, token by token: delta, u (L, E), A (E, N), B, C (L, N) to y (L, E)."""
    y = torch.zeros_like(u)
    for channel in range(u.shape[1]):
        h = [0.0] * A.shape[1]
        for t in reversed(range(len(u))) if backward else range(len(u)):
            step = float(delta[t, channel])
            for n in range(A.shape[1]):
                h[n] = math.exp(step * float(A[channel, n])) * h[n] + step * float(B[t, n]) * float(
                    u[t, channel]
                )
            y[t, channel] = sum(float(C[t, n]) * h[n] for n in range(A.shape[1]))
    return y


def shown(tokens: TokenSequence, raw: Tensor, seed: int) -> TokenSequence:
    """`tokens` as a block with timescale `raw` (2, B, L, E), before the softplus, would leave them."""
    y = normal(tokens.batch, tokens.length, WIDTH, seed=seed)
    return replace(tokens, trace=Trace(delta=torch.nn.functional.softplus(raw), y=y))


@pytest.mark.parametrize("special", [(5,), (0,), (), (3, 9)])
def test_survivors_scan_as_if_nothing_had_been_skipped(
    fabricate: Fabricate, special: tuple[int, ...]
) -> None:
    tokens = replace(fabricate(dtype=torch.float64, special=special), carry=None)
    composition = parse("hsa").composition()
    assert composition is not None
    batch, length = tokens.batch, tokens.length
    last_seen = torch.zeros(2, batch, length, WIDTH, dtype=torch.float64)
    # Three blocks with a timescale each, a site after the first and after the second.
    for site, removed in ((1, 4), (2, 5)):
        raw = normal(2, batch, tokens.length, WIDTH, seed=site)
        place = tokens.position[None, :, :, None].expand_as(raw)
        last_seen.scatter_(2, place, torch.nn.functional.softplus(raw))
        tokens = Reducer(composition, removed, site)(shown(tokens, raw, seed=10 + site))
    raw, u = (
        normal(2, batch, tokens.length, WIDTH, seed=3),
        normal(2, batch, tokens.length, WIDTH, seed=4),
    )
    B, C = (
        normal(2, batch, tokens.length, STATES, seed=5),
        normal(2, batch, tokens.length, STATES, seed=6),
    )
    A = -normal(2, WIDTH, STATES, seed=7).exp()
    result = selective_scan(
        u,
        raw,
        A,
        B,
        C,
        reverse=(False, True),
        carry=tokens.carry,
        separate=True,
        kernel="reference",
    )
    for direction in range(2):
        for b in range(batch):
            kept = tokens.position[b]
            delta = last_seen[direction, b].clone()
            delta[kept] = torch.tensor(
                [[softplus(v) for v in row] for row in raw[direction, b].tolist()],
                dtype=torch.float64,
            )
            inputs, written, read = (
                torch.zeros(length, w, dtype=torch.float64) for w in (WIDTH, STATES, STATES)
            )
            inputs[kept], written[kept], read[kept] = (
                u[direction, b],
                B[direction, b],
                C[direction, b],
            )
            y = whole_scan(delta, inputs, A[direction], written, read, backward=direction == 1)
            torch.testing.assert_close(result.y[direction, b], y[kept], rtol=1e-9, atol=1e-9)


def test_without_alignment_it_is_the_plain_pruning() -> None:
    assert METHODS["hsa"].compose(align=False) == METHODS["activation"].compose(reading="gated")


def test_alignment_makes_a_difference_of_exactly_the_dropped_steps(fabricate: Fabricate) -> None:
    tokens = replace(fabricate(batch=1, dtype=torch.float64), carry=None)
    composition = parse("hsa").composition()
    assert composition is not None
    out = Reducer(composition, 6, site=1)(tokens)
    assert out.carry is not None
    assert tokens.trace is not None
    assert tokens.trace.delta is not None
    gone = sorted(set(range(17)) - set(out.position[0].tolist()))
    first, last = int(out.position.min()), int(out.position.max())
    for direction, heirless in enumerate((last, first)):
        # Every dropped step is handed on once, but for those beyond the last token of the scan.
        handed = [p for p in gone if (p < heirless) == (direction == 0)]
        expected = tokens.trace.delta[direction, 0, handed].sum(0)
        torch.testing.assert_close(out.carry[direction, 0].sum(0), expected)

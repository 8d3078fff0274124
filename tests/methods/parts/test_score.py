"""What a score is said to cost, against the operations that a traced run of the plain path does."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from backbones.sequence import TokenSequence, Trace
from methods import reduce as compose
from methods.composition import Composition
from methods.parts.score import DIRECTIONS, READINGS, SCORES, SiteContext

# Operations for each number that comes out, and for each that goes in.
OUT = {"add": 1, "sub": 1, "mul": 1, "div": 1, "exp": 1, "sqrt": 1, "addcmul": 2, "mean": 1}
OUT["linalg_vector_norm"] = 1  # the root
IN = {"sum": 1, "mean": 1, "cumsum": 1, "linalg_vector_norm": 2}
FREE = """
    abs neg clamp_min lt gt ne eq ge amin sort max_pool2d_with_indices
    where gather index_select scatter cat stack flip clone _to_copy promote_types
    arange zeros zeros_like new_zeros empty full full_like scalar_tensor
    split select slice unsqueeze squeeze expand view _unsafe_view alias unbind transpose permute t
    reshape detach bitwise_and bitwise_or bitwise_xor __rshift__
""".split()  # noqa: SIM905 - as a table


class Arithmetic(TorchDispatchMode):
    """Counts additions, multiplications, divisions, roots and exponentials of floating numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__.removesuffix("_")
        if isinstance(out, Tensor) and not out.is_floating_point():
            return out  # indices
        if name in OUT or name in IN:
            self.count += OUT.get(name, 0) * out.numel() + IN.get(name, 0) * args[0].numel()
        else:
            assert name in FREE, f"{name} is counted by nobody"
        return out


@dataclass(frozen=True)
class Sizes:
    """A backbone's sizes, as the closed form reads them, and how many tokens of it are left."""

    dim: int = 6
    inner: int = 8
    states: int = 3
    specials: int = 1
    directions: int = 2
    heads: int = 2
    head_width: int = 3
    grid: tuple[int, int, int] = (1, 4, 4)
    worn: int = 0
    scan_heads: int = 0

    @property
    def timescales(self) -> int:
        return self.scan_heads or self.inner


SIZES = (
    Sizes(),
    Sizes(dim=5, inner=12, states=4, specials=3, heads=3, grid=(1, 3, 5), worn=4),
    Sizes(dim=16, inner=32, states=16, grid=(2, 3, 3), worn=1),
    Sizes(specials=0, directions=4, states=5),
    Sizes(directions=1, scan_heads=2, states=4),
)


def made(fabricate: Callable[..., TokenSequence], sizes: Sizes) -> TokenSequence:
    tokens = fabricate(
        batch=1,
        grid=sizes.grid,
        special=tuple(range(2, 2 + sizes.specials)),
        dim=sizes.dim,
        inner=sizes.inner,
        states=sizes.states,
        worn=sizes.worn,
        dtype=torch.float64,
    )
    assert tokens.trace is not None
    stacked = {name: getattr(tokens.trace, name) for name in ("delta", "delta_mean", "A", "B", "C")}
    if sizes.scan_heads:
        stacked["delta"] = stacked["delta"][..., : sizes.scan_heads]
        # a head has one decay for all states
        stacked["A"] = stacked["A"][:, : sizes.scan_heads, :1]
    times = -(-sizes.directions // 2)
    repeated = {}
    for name, value in stacked.items():
        repeated[name] = torch.cat([value] * times)[: sizes.directions]
    return replace(tokens, trace=replace(tokens.trace, **repeated))


def averaged_by_the_block(composition: Composition, trace: Trace, sizes: Sizes) -> int:
    """Operations of the means that a block takes for the trace alone."""
    assert trace.delta is not None
    read = {"both": slice(None), "forward": slice(0, 1), "backward": slice(1, 2)}
    heads = torch.zeros(1, sizes.heads, trace.delta.shape[2])
    with Arithmetic() as counter:
        if "delta_mean" in composition.needs:
            trace.delta[read[composition.direction]].mean(-1)
        if "cls_attention" in composition.needs:
            heads.mean(1)
    return counter.count


def compositions(sizes: Sizes) -> Iterator[Composition]:
    directions = DIRECTIONS if sizes.directions > 1 else ("both",)
    choices = product(SCORES, directions, READINGS, (True, False), (0.0, 2.0))
    for score, direction, reading, decay, sensitivity in choices:
        if sensitivity and (score == "cls-similarity" or not sizes.specials):
            continue
        if score == "hidden-attention" and not sizes.specials:
            continue
        yield Composition(
            "lowest",
            score=score,
            direction=direction,
            reading=reading,
            decay=decay,
            sensitivity=sensitivity,
        )


@pytest.mark.parametrize("sizes", SIZES)
def test_a_score_does_as_many_operations_as_it_is_said_to(
    fabricate: Callable[..., TokenSequence], sizes: Sizes
) -> None:
    tokens = made(fabricate, sizes)
    patches = tokens.patches()
    assert tokens.trace is not None
    for composition in set(compositions(sizes)):
        with Arithmetic() as counter:
            compose.scored(SiteContext(tokens, patches, seed=3, site=2), composition)
        found = counter.count + averaged_by_the_block(composition, tokens.trace, sizes)
        if composition.score == "random":
            found -= patches.shape[1]  # drawn numbers are scaled to [0, 1): not counted
        said = composition.cost(patches.shape[1], 1, sizes).arithmetic
        assert found == said, composition


def test_deltas_mean_by_hand() -> None:
    # 197 tokens: 384 additions and a division in each direction, and the sum of both.
    vim_tiny = Sizes(dim=192, inner=384, states=16)
    cost = Composition("lowest", score="delta").cost(196, 11, vim_tiny)
    assert cost.arithmetic == 197 * (2 * 384 + 2 + 1)

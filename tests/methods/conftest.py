"""A fabricated token sequence with every trace field, as if a block had just produced it."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from backbones.sequence import TokenSequence, Trace, new_sequence
from methods.composition import Composition
from methods.reducer import Reducer

Fabricate = Callable[..., TokenSequence]

# The oracle is a module of its own beside the tests; in importlib mode their folder is not on the
# path.
sys.path.insert(0, str(Path(__file__).parent))


def fabricated(
    batch: int = 2,
    grid: tuple[int, int, int] = (1, 4, 4),
    special: tuple[int, ...] = (5,),
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    dim: int = 6,
    inner: int = 8,
    states: int = 3,
    worn: int = 0,
) -> TokenSequence:
    """Random tokens, tracked, with a carry and a full trace; image 7, 8, ... so that image is not the batch index.

    `worn` patches were dropped at random before and the others shuffled, as if earlier sites had
    been at work.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    frames, height, width = grid
    length = frames * height * width + len(special)
    tokens = new_sequence(
        normal(batch, length, dim), special, grid, torch.arange(7, 7 + batch)
    ).tracked()
    if worn:
        earlier = Composition("lowest", score="random", order="shuffled")
        tokens = Reducer(earlier, worn, site=1, seed=seed)(tokens)
        length = tokens.length
    delta = torch.nn.functional.softplus(normal(2, batch, length, inner))
    forward, backward, *ungated = (normal(batch, length, inner) for _ in range(4))
    trace = Trace(
        delta_mean=delta.mean(-1),
        delta=delta,
        B=normal(2, batch, length, states),
        C=normal(2, batch, length, states),
        A=-torch.exp(normal(2, inner, states)),
        y=forward + backward,
        y_forward=forward,
        y_backward=backward,
        ungated=ungated[0] + ungated[1],
        ungated_forward=ungated[0],
        ungated_backward=ungated[1],
        keys=normal(batch, length, dim),
        cls_attention=normal(batch, length).softmax(1),
    )
    return replace(
        tokens,
        residual=normal(batch, length, dim),
        carry=normal(2, batch, length, inner).abs(),
        trace=trace,
    )


@pytest.fixture(scope="session")
def fabricate() -> Fabricate:
    """`fabricated`, for tests that draw their sizes."""
    return fabricated


@pytest.fixture(autouse=True, scope="module")
def without_gradients() -> Iterator[None]:
    """Reductions are evaluated as the engine does."""
    with torch.no_grad():
        yield

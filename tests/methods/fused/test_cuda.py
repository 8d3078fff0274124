"""On a GPU every method does what it does on a CPU."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from option_values import BY_COUNT
from torch import Tensor

from backbones.sequence import TokenSequence
from methods.parts.counter_random import uniform
from methods.reducer import Reducer
from methods.spec import parse

pytestmark = pytest.mark.gpu
TEXTS = [
    *BY_COUNT,
    "mtr[weights=pair]",
    "mtr[order=shuffled,shuffle=0.5]",
    "tome[order=appended]",
    "pool[path=grid]",
    "evit[score=hidden-attention]",
]


def on_gpu(of: Any) -> Any:
    """A dataclass of tensors on the GPU."""
    there = {
        f.name: getattr(of, f.name).cuda()
        for f in fields(of)
        if isinstance(getattr(of, f.name), Tensor)
    }
    return replace(of, **there)


def test_random_numbers_are_the_same() -> None:
    images, positions = torch.arange(64), torch.arange(1569).expand(64, -1)
    here = uniform(123456789, images, 7, positions)
    assert torch.equal(uniform(123456789, images.cuda(), 7, positions.cuda()).cpu(), here)


@pytest.mark.parametrize("text", TEXTS)
def test_the_same_reduction(fabricate: Callable[..., TokenSequence], text: str) -> None:
    # Fp64, so that a similarity's last bits do not decide between two almost equal pairs.
    sizes: dict[str, Any] = {
        "grid": (1, 14, 14),
        "special": (98,),
        "dim": 192,
        "inner": 64,
        "states": 16,
    }
    tokens = fabricate(batch=4, dtype=torch.float64, **sizes)
    composition = parse(text).composition()
    assert composition is not None
    reducer = Reducer(composition, 40, site=3)
    here, there = reducer(tokens), reducer(replace(on_gpu(tokens), trace=on_gpu(tokens.trace)))
    for name in ("position", "size", "special", "owner"):
        assert torch.equal(getattr(here, name), getattr(there, name).cpu()), name
    for name in ("branch", "residual", "carry"):
        torch.testing.assert_close(
            getattr(there, name).cpu(), getattr(here, name), rtol=1e-9, atol=1e-9
        )

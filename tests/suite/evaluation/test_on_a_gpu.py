"""What is counted of tokens on a GPU: nothing waits for a value, or reads one of the host."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from backbones.sequence import new_sequence
from suite.evaluation.token_counts import TokenCounts
from suite.evaluation.token_order import OrderTracker


class OnDevice(TorchDispatchMode):
    """Refuse an operation that reads a tensor of the host."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        assert all(leaf.device.type == "cuda" for leaf in read), f"{func} reads of the host"
        return func(*args, **(kwargs or {}))


@contextmanager
def imagined_gpu() -> Iterator[None]:
    """Tensors of a GPU with shapes and no values; reading one fails."""
    with FakeTensorMode(), torch.inference_mode():
        yield


# a map that is halved has no special tokens
@pytest.mark.parametrize(("special", "halvings"), [((), ()), ((4,), ()), ((0, 4), ()), ((), (2,))])
def test_nothing_waits_after_a_reduction(
    special: tuple[int, ...], halvings: tuple[int, ...]
) -> None:
    tracked, length = np.array([True, False, True]), 9 + len(special)
    counts = TokenCounts(torch.zeros(3, length, dtype=torch.bool), tracked, halvings)
    with imagined_gpu():
        tokens = new_sequence(torch.zeros(3, length, 2, device="cuda"), special, (1, 3, 3))
        order = OrderTracker()
        with OnDevice():  # type: ignore[no-untyped-call]
            for site in (1, 3):
                counts.observe(["a", "b"], site, tokens)
                order.observe(["a", "b"], site, tokens)
        assert [part.alive.shape for part in counts._marked] == [(3, tokens.length)] * 2
        assert all(part.alive.device.type == "cuda" for part in counts._marked)
        assert all(found.device.type == "cuda" for found in order._waiting)


def test_a_step_that_waits_is_found() -> None:
    with imagined_gpu():
        tokens = torch.zeros(3, device="cuda")
        with pytest.raises(Exception, match=r"nonzero|data-dependent|dynamic|item"):
            tokens[tokens > 0].tolist()

"""Models for their sizes alone, which take no memory and hardly any time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class _Uninitialised(TorchFunctionMode):
    """Leave tensors as they are in the initialisers that PyTorch's layers call.

    Others of `torch.nn.init` run, as do those of the backbones.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else given["tensor"]
        return func(*args, **given)


@contextmanager
def shapes_alone() -> Iterator[None]:
    """Make new tensors on the meta device: they have a shape and no values, and none are drawn."""
    # Those initialisers would take a third of the time.
    with torch.device("meta"), _Uninitialised():
        yield

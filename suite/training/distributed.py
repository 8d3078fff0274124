"""The processes that train together, each on its share of every batch, as torchrun begins them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from backbones.common.errors import UserError


@dataclass(frozen=True)
class Ranks:
    """The number of this process and how many there are: all hold the same weights and step by their mean gradient."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and tells."""
        return self.rank == 0

    def share(self, batch: int) -> slice:
        """The part of a batch that is for this process; UserError if the batch cannot be dealt out evenly."""
        if batch % self.count:
            raise UserError(
                f"{self.count} processes cannot share a batch of {batch}: begin a number that divides it"
            )
        return slice(self.rank, None, self.count)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Make each tensor the mean over the processes, in place and in one message."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(flat)
        parts = (flat / self.count).split([tensor.numel() for tensor in tensors])
        torch._foreach_copy_(
            list(tensors), [part.view_as(one) for part, one in zip(parts, tensors, strict=True)]
        )

    def agreed(self, value: float) -> float:
        """What the first process says, in all of them."""
        if self.count == 1:
            return value
        said = [value]
        distributed.broadcast_object_list(said)
        return said[0]

    @contextmanager
    def one_before_the_others(self) -> Iterator[None]:
        """The first process does the body by itself, then the others theirs: they find on disk what it left there."""
        if not self.first:
            distributed.barrier()
        yield
        if self.first and self.count > 1:
            distributed.barrier()


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """Take a place among the processes of torchrun, on a GPU of its own where `device` is cuda; alone without it."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Ranks()
        return
    cuda = device.startswith("cuda")
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()

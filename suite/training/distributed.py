"""The process group of a training run, as started by torchrun."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from backbones.common.errors import UserError


@dataclass(frozen=True)
class ProcessGroup:
    """Rank of this process and number of processes.

    All have the same weights, and each step follows the mean of their gradients.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def rows(self, batch: int) -> slice:
        """Rows of a batch for this process; UserError unless the batch can be divided evenly."""
        # An uneven division would weight the images of a smaller part more in the mean gradient.
        if batch % self.size:
            raise UserError(
                f"{self.size} processes cannot share a batch of {batch}: "
                f"begin a number that divides it"
            )
        return slice(self.rank, None, self.size)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over the processes, in place."""
        if self.size == 1:
            return
        # One message for all: each costs its latency.
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(flat)
        parts = (flat / self.size).split([tensor.numel() for tensor in tensors])
        means = [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]
        torch._foreach_copy_(list(tensors), means)

    def broadcast(self, value: float) -> float:
        """The value of the main process, in every process."""
        if self.size == 1:
            return value
        # Clocks differ from process to process, so that a decision by time is the main one's.
        values = [value]
        distributed.broadcast_object_list(values)
        return values[0]

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Run the body in the main process first, then in the others, which find its files."""
        if not self.is_main:
            distributed.barrier()
        yield
        if self.is_main and self.size > 1:
            distributed.barrier()


@contextmanager
def process_group(device: str) -> Iterator[ProcessGroup]:
    """Join the processes of torchrun, with a GPU each on cuda; a group of one without torchrun."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ProcessGroup()
        return
    cuda = device.startswith("cuda")
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        yield ProcessGroup(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()

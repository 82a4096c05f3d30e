"""The processes that train one cell together, one a device; alone, everything here does nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch.distributed as dist
from torch import Tensor, nn

from bench.errors import UserError

if TYPE_CHECKING:  # training depends on the values of these, not on their code
    from bench.train.hardware import Device

Value = TypeVar("Value")
PATIENCE = timedelta(days=7)
"""For the others: rank 0 may wait for a store or a disk; whether one dies is seen otherwise."""


@dataclass(frozen=True, slots=True)
class Team:
    """One process of several: that of `rank`, from 0, among `size`."""

    rank: int = 0
    size: int = 1

    def agreed(self, value: Value) -> Value:
        """What rank 0 calls this with, in every process."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, 0)
        return values[0]

    def gathered(self, value: Value) -> list[Value]:
        """What each process calls this with, by rank, in every process."""
        if self.size == 1:
            return [value]
        values = [value] * self.size
        dist.all_gather_object(values, value)
        return values

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the processes of `values`, which has one shape in all."""
        if self.size == 1:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total / self.size

    def align(self, model: nn.Module) -> None:
        """Give the buffers of `model` the values that they have in rank 0."""
        if self.size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)

    def part(self, clips: Tensor) -> Tensor:
        """Those of all `clips` of a step that are of this process."""
        return clips.tensor_split(self.size)[self.rank] if self.size > 1 else clips

    def divide(self, batch_size: int) -> int:
        """How many clips of a batch each process has.

        Raises:
            UserError: not equally many, of which no mean of gradients would be that of the clips.
        """
        if batch_size % self.size:
            raise UserError(
                f"a batch of {batch_size} clips cannot be divided equally over {self.size} devices:"
                " choose a number of devices that divides it, or another batch_size in [recipe]"
            )
        return batch_size // self.size


ALONE = Team()


@contextmanager
def joined(rank: int, size: int, device: Device, meeting: Path) -> Iterator[Team]:
    """A team inside the block, for which all of its processes must have come.

    Tensors of the CPU, and with them all that the host agrees on, go by gloo; those of GPUs by
    NCCL. They meet by a file that nobody else may write, on this machine's own network interface:
    what is gathered is unpickled.
    """
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else "lo0")
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo",
        init_method=meeting.as_uri(),
        rank=rank,
        world_size=size,
        timeout=PATIENCE,
    )
    try:
        team = Team(rank, size)
        yield team
        team.gathered(None)  # by gloo: none leaves while another still needs it
    finally:
        dist.destroy_process_group()

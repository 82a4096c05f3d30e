"""Held-out clips through a model, batch by batch, each forward pass timed.

The model is given memory of its own with the context alone; the truth is converted, and goes to the
device, once the output is there. Each batch has a seed by its place, so that a stochastic model
draws the same in whatever order batches come.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from bench.train.hardware import synchronize
from bench.train.team import ALONE, Team
from datasets.contract import Clips, to_unit

if TYPE_CHECKING:
    from bench.train.guard import Guard

Found = TypeVar("Found")

Batch = tuple[Tensor, ...]
"""Clips [B,T,C,H,W], and of labelled data the class of each, int64 [B]."""

Heartbeat = Callable[[float], None]
"""Called with the fraction done, in (0,1], after each batch."""

Forward = Callable[[Tensor], Tensor]
"""The output of a model for what it is given of clips, [B,T,C,H,W] in [0,1]."""


@dataclass(frozen=True, slots=True)
class Pass:
    """A batch of held-out clips with the model's output.

    Attributes:
        first: position of the first clip in the split.
        clips: [B,T,C,H,W] as stored, on the CPU.
        truth: the frames after the context, float32 [B,horizon,C,H,W] in [0,1], on the device.
        output: of the model, on the device, in memory that no model writes to.
        seconds: of the forward pass, from idle device to idle device.
    """

    first: int
    clips: Tensor
    truth: Tensor
    output: Tensor
    seconds: float


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The first `count` of `clips`, evaluated batch by batch on `device`.

    Of several processes each takes every so-many-th batch: all batches are those of one process.

    Attributes:
        seed: that of the first batch; it and its place give that of any other.
        guard: sees to it that the model is the same afterwards and remembers nothing.
        team: the processes that share the batches, of which this is one.
    """

    clips: Clips
    count: int
    batch_size: int
    device: torch.device
    heartbeat: Heartbeat
    seed: int = 0
    guard: Guard | None = None
    team: Team = ALONE

    @property
    def firsts(self) -> range:
        """The first clips of all batches."""
        return range(0, self.count, self.batch_size)

    def of_all(self, found: list[Found]) -> list[Found]:
        """What was `found` for each batch here, with what the other processes found, in order."""
        by_rank = self.team.gathered(found)
        size = self.team.size
        return [by_rank[number % size][number // size] for number in range(len(self.firsts))]

    # `no_grad`, not `inference_mode`: a model may cache what it computes during validation and
    # differentiate through it in training.
    @torch.no_grad()
    def passes(self, forward: Forward, context_frames: int) -> Iterator[Pass]:
        """The first `context_frames` of this process's clips through `forward`; none is kept.

        Raises:
            Invalid: the guard found the model to have changed, once all batches were seen.
        """
        if self.guard is not None:
            self.guard.begin()
        for first in self.firsts[self.team.rank :: self.team.size]:
            clips = self._stored(first)
            output, seconds = self._output(forward, clips[:, :context_frames], first)
            if self.guard is not None:
                self.guard.seen(first, output)
            truth = to_float(clips[:, context_frames:], self.device)
            yield Pass(first, clips, truth, output, seconds)
            self.heartbeat((first + len(clips)) / self.count)
        if self.guard is not None:
            self.guard.end(
                lambda first: self._output(forward, self._stored(first)[:, :context_frames], first)[
                    0
                ]
            )

    def _stored(self, first: int) -> Tensor:
        return self.clips[first : min(first + self.batch_size, self.count)]

    def _output(self, forward: Forward, context: Tensor, first: int) -> tuple[Tensor, float]:
        """The output for `context` as stored, of the batch at `first`, and its seconds."""
        given = to_float(context, self.device).contiguous()
        torch.manual_seed(self.seed + first)
        synchronize(self.device)
        began = time.perf_counter()
        output = forward(given)
        synchronize(self.device)
        return output.detach().clone(), time.perf_counter() - began


def to_float(clips: Tensor, device: torch.device) -> Tensor:
    """`clips` as float32 in [0,1] in fresh memory on `device`, transferred in their stored type."""
    # Elsewhere than on CUDA, "mps" say, the source may be freed before it is copied.
    return to_unit(on_device(clips, device))


def on_device(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` on `device`, without waiting for CUDA; MPS would copy from memory freed too soon."""
    return tensor.to(device, non_blocking=device.type == "cuda")

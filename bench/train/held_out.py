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

from bench.errors import UserError
from bench.train.hardware import synchronize
from bench.train.team import ALONE, Team
from datasets.contract import Clips, covariates_of, to_unit

if TYPE_CHECKING:
    from bench.train.guard import Guard

Found = TypeVar("Found")

Batch = tuple[Tensor, ...]
"""Clips [B,T,C,H,W], and of labelled data the class of each, int64 [B]; or the covariates of their
frames, float32 [B,T,K], where a model takes them."""

Heartbeat = Callable[[float], None]
"""Called with the fraction done, in (0,1], after each batch."""

Forward = Callable[..., Tensor]
"""The output of a model for what it is given of clips, [B,T,C,H,W] in [0,1], and of covariates, if
it takes them, those of all frames."""


@dataclass(frozen=True, slots=True)
class Pass:
    """A batch of held-out clips with the model's output.

    Attributes:
        first: position of the first clip in the split.
        clips: [B,T,C,H,W] as stored, on the CPU.
        truth: the frames after the context, float32 [B,horizon,C,H,W] in [0,1], on the device.
        output: of the model, on the device, in memory that no model writes to.
        seconds: of the forward pass, from idle device to idle device.
        covariates: [B,T,K] of the clips on the CPU, where the model is given them.
    """

    first: int
    clips: Tensor
    truth: Tensor
    output: Tensor
    seconds: float
    covariates: tuple[Tensor, ...] = ()


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The first `count` of `clips`, evaluated batch by batch on `device`.

    Of several processes each takes every so-many-th batch: all batches are those of one process.

    Attributes:
        seed: that of the first batch; it and its place give that of any other.
        guard: sees to it that the model is the same afterwards and remembers nothing.
        team: the processes that share the batches, of which this is one.
        covariates: how many numbers of each frame the model is given.
    """

    clips: Clips
    count: int
    batch_size: int
    device: torch.device
    heartbeat: Heartbeat
    seed: int = 0
    guard: Guard | None = None
    team: Team = ALONE
    covariates: int = 0

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
            stored = self.stored(first)
            output, seconds = self._output(forward, stored, context_frames, first)
            if self.guard is not None:
                self.guard.seen(first, output)
            clips, *covariates = stored
            truth = to_float(clips[:, context_frames:], self.device)
            yield Pass(first, clips, truth, output, seconds, tuple(covariates))
            self.heartbeat((first + len(clips)) / self.count)
        if self.guard is not None:
            self.guard.end(
                lambda first: self._output(forward, self.stored(first), context_frames, first)[0]
            )

    def stored(self, first: int) -> Batch:
        """The batch of clips at `first`, and the covariates that the model is given.

        Raises:
            UserError: these are none.
        """
        window = slice(first, min(first + self.batch_size, self.count))
        clips = self.clips[window]
        if not self.covariates:
            return (clips,)
        covariates = covariates_of(self.clips, window)
        require_covariates(covariates, clips, self.covariates)
        return clips, covariates

    def _output(
        self, forward: Forward, stored: Batch, context_frames: int, first: int
    ) -> tuple[Tensor, float]:
        """The output for a batch as `stored` at `first`, and its seconds."""
        given = shown(stored, context_frames, self.device)
        torch.manual_seed(self.seed + first)
        synchronize(self.device)
        began = time.perf_counter()
        output = forward(*given)
        synchronize(self.device)
        return output.detach().clone(), time.perf_counter() - began


def shown(stored: Batch, context_frames: int, device: torch.device) -> Batch:
    """What a model is given of a batch as `stored`, in fresh memory on `device`.

    The context in [0,1], and the covariates of all frames, where there are any.
    """
    clips, *covariates = stored
    context = to_float(clips[:, :context_frames], device).contiguous()
    return context, *(on_device(each.clone(), device) for each in covariates)


def require_covariates(covariates: Tensor, clips: Tensor, numbers: int) -> None:
    """Make sure that `covariates` are so many `numbers` for each frame of `clips` [B,T,C,H,W].

    Of those on a GPU it is not asked whether they are finite: it would have to be waited for.

    Raises:
        UserError: they are not.
    """
    due = (*clips.shape[:2], numbers)
    if tuple(covariates.shape) != due or covariates.dtype != torch.float32:
        found = f"{covariates.dtype} {tuple(covariates.shape)}"
        raise UserError(f"the covariates of clips are {found}, not torch.float32 {due}")
    if covariates.device.type == "cpu" and not bool(covariates.isfinite().all()):
        raise UserError("a covariate of a clip is NaN or infinite: `bench check` the data set")


def to_float(clips: Tensor, device: torch.device) -> Tensor:
    """`clips` as float32 in [0,1] in fresh memory on `device`, transferred in their stored type."""
    # Elsewhere than on CUDA, "mps" say, the source may be freed before it is copied.
    return to_unit(on_device(clips, device))


def on_device(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` on `device`, without waiting for CUDA; MPS would copy from memory freed too soon."""
    return tensor.to(device, non_blocking=device.type == "cuda")

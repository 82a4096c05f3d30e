"""Held-out clips through a model, batch by batch, each forward pass timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.train.hardware import synchronize
from datasets.contract import Clips, to_unit

Batch = tuple[Tensor, ...]
"""Clips [B,T,C,H,W], and of labelled data the class of each, int64 [B]."""

Heartbeat = Callable[[float], None]
"""Called with the fraction done, in (0,1], after each batch."""

Forward = Callable[[Tensor], Tensor]
"""The output of a model for whole clips [B,T,C,H,W] in [0,1]."""


class Invalid(Exception):
    """The model broke a rule of the comparison: its figures are void. The message says which."""


@dataclass(frozen=True, slots=True)
class Pass:
    """A batch of held-out clips with the model's output.

    Attributes:
        first: position of the first clip in the split.
        clips: [B,T,C,H,W] as stored, on the CPU.
        frames: the same, float32 in [0,1], on the device.
        output: of the model, on the device.
        seconds: of the forward pass, from idle device to idle device.
    """

    first: int
    clips: Tensor
    frames: Tensor
    output: Tensor
    seconds: float


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The first `count` of `clips`, evaluated batch by batch on `device`."""

    clips: Clips
    count: int
    batch_size: int
    device: torch.device
    heartbeat: Heartbeat

    # `no_grad`, not `inference_mode`: a model may cache what it computes during validation and
    # differentiate through it in training.
    @torch.no_grad()
    def passes(self, forward: Forward) -> Iterator[Pass]:
        """The clips through `forward`; no batch is kept."""
        for first in range(0, self.count, self.batch_size):
            last = min(first + self.batch_size, self.count)
            clips = self.clips[first:last]
            frames = to_float(clips, self.device)
            synchronize(self.device)
            began = time.perf_counter()
            output = forward(frames)
            synchronize(self.device)
            yield Pass(first, clips, frames, output, time.perf_counter() - began)
            self.heartbeat(last / self.count)


def to_float(clips: Tensor, device: torch.device) -> Tensor:
    """`clips` as float32 in [0,1] on `device`, transferred in their stored type."""
    return to_unit(clips.to(device, non_blocking=True))

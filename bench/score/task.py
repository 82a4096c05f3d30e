"""What a cell does in the way of its task: how its model is built, trained, validated, tested."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import torch
from torch import Tensor

from datasets.contract import Clips, Spec

Batch = tuple[Tensor, ...]
"""Clips [B,T,C,H,W], and of labelled data the class of each, int64 [B]."""

Heartbeat = Callable[[float], None]
"""Called with the fraction done, in (0,1], after each batch."""

Forward = Callable[[Tensor], Tensor]
"""What a model makes of whole clips [B,T,C,H,W] in [0,1]."""


class Result(Protocol):
    """What a model is worth on the test clips."""

    @property
    def not_measured(self) -> dict[str, str]:
        """The reason for each metric of `metrics.RECORDED` that could not be had, by name."""

    @property
    def frames_per_second(self) -> float:
        """Frames predicted, or looked at, per second of synchronised forward time."""

    def means(self) -> dict[str, float]:
        """Each measured one of `metrics.RECORDED`, by name."""

    def points(self) -> list[tuple[str, float, int]]:
        """What is recorded beside these: metric, value and step."""

    def write(self, folder: Path) -> None:
        """Put what the figures were made of into `folder`."""


class Task(ABC):
    """A task on clips of one `spec`; `bench.tasks.of` gives the one that a cell has."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    @abstractmethod
    def build(self, cls: type[Any], options: Mapping[str, Any]) -> Any:
        """A model of the class `cls` for the clips of the task."""

    @abstractmethod
    def blank(self) -> Batch:
        """A batch of one clip without content, float, on PyTorch's default device."""

    @abstractmethod
    def draw(self, dataset: Any, count: int, generator: torch.Generator) -> Batch:
        """`count` random training clips as bytes, on the generator's device."""

    @abstractmethod
    def fit(self, model: Any, batches: Iterable[Batch]) -> None:
        """Show `batches`, float, to a model without parameters."""

    @abstractmethod
    def losses(self, model: Any) -> tuple[str, ...]:
        """The methods of `model` that give the losses of one training step, in turn."""

    @abstractmethod
    def loss_arguments(
        self, batch: Batch, progress: float, generator: torch.Generator | None
    ) -> tuple[object, ...]:
        """What each of these methods is given for a `batch`, float."""

    @abstractmethod
    def forward(self, model: Any, clips: Tensor) -> Tensor:
        """What `model` makes of `clips` when it is tested."""

    @abstractmethod
    def validate(self, forward: Forward, held_out: HeldOut) -> float:
        """The measure `records.VALIDATION` of the held-out clips."""

    @abstractmethod
    def test(self, forward: Forward, held_out: HeldOut, showcase_clips: int) -> Result:
        """All measures of the held-out clips; of `showcase_clips` also what was made."""


@dataclass(frozen=True, slots=True)
class Pass:
    """A batch of held-out clips, and what a model made of it.

    Attributes:
        first: position in the split of the first.
        clips: uint8 [B,T,C,H,W] on the CPU.
        frames: the same, float32 in [0,1], on the device.
        output: what the model made of them, on the device.
        seconds: of the forward pass, from idle device to idle device.
    """

    first: int
    clips: Tensor
    frames: Tensor
    output: Tensor
    seconds: float


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The first `count` of `clips`, which a model passes batch by batch on `device`."""

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
            _synchronise(self.device)
            began = time.perf_counter()
            output = forward(frames)
            _synchronise(self.device)
            yield Pass(first, clips, frames, output, time.perf_counter() - began)
            self.heartbeat(last / self.count)


def to_float(clips: Tensor, device: torch.device) -> Tensor:
    """uint8 `clips` as float32 in [0,1] on `device`; they travel as bytes."""
    return clips.to(device, non_blocking=True).float().div_(255)


def usual_speed(speeds: list[float]) -> float:
    """The median over batches, the first left out where there are more."""
    return median(speeds[1:] or speeds)


def _synchronise(device: torch.device) -> None:
    """Wait for the work queued on `device`."""
    if device.type != "cpu":
        getattr(torch, device.type).synchronize()

"""Predictions that are made from the context alone and need no training.

What a model must be better than to have learnt anything of a clip. Copying and linear motion are
the models of those names.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from bench import caches
from bench.score.frames import mse
from bench.suite import fingerprint
from bench.train.held_out import HeldOut, to_float
from models.copy_last import CopyLast
from models.linear_motion import LinearMotion

NAMES = ("black", "constant", "context_mean", "copy_last", "linear_motion")
"""Black frames; the mean colour of the context; its mean frame; its last frame; that frame with
every pixel going on at the constant velocity it had between the last two."""


@dataclass(frozen=True, slots=True)
class Trivial:
    """How well the trivial predictions do on clips.

    Attributes:
        errors: the MSE by frame, float32 [N,len(NAMES),horizon] on the CPU.
    """

    errors: Tensor

    @property
    def best(self) -> Tensor:
        """The place in `NAMES` of the one with the lowest MSE over each clip's horizon, [N]."""
        return self.errors.mean(2).argmin(1)

    @property
    def names(self) -> list[str]:
        """The names of the best."""
        return [NAMES[place] for place in self.best.tolist()]

    @property
    def mse(self) -> Tensor:
        """The MSE by frame of the one that is best on its clip, [N,horizon]."""
        return self.errors[torch.arange(len(self.errors)), self.best]

    def of(self, name: str) -> Tensor:
        """The MSE by frame of one of `NAMES`, [N,horizon]."""
        return self.errors[:, NAMES.index(name)]


def scored(context: Tensor, truth: Tensor, device: torch.device | None = None) -> Trivial:
    """The trivial predictions of `context` [B,T,C,H,W] against `truth` [B,horizon,C,H,W].

    Both are in [0,1] on the CPU; linear motion is computed on `device`.
    """
    predictions = _predictions(context, truth.shape[1], device or torch.device("cpu"))
    return Trivial(torch.stack([mse(frames.clamp(0, 1), truth) for frames in predictions], 1))


def of_held_out(held_out: HeldOut, context_frames: int) -> Trivial:
    """The trivial predictions of held-out clips, kept between processes.

    Every model is tested on the same clips, and linear motion costs as much as all metrics. What is
    kept counts for the same pixels, code, kind of device and PyTorch. Of several processes that
    test together, one makes them for all.
    """
    team = held_out.team
    errors = _errors(held_out, context_frames) if team.rank == 0 else torch.empty(0)
    return Trivial(team.agreed(errors))


def _errors(held_out: HeldOut, context_frames: int) -> Tensor:
    batches = partial(_batches, held_out)
    key = hashlib.sha256(fingerprint.harness_digest("scored").encode())
    key.update(repr((context_frames, held_out.device.type, torch.__version__)).encode())
    for clips in batches():
        key.update(repr((clips.dtype, clips.shape)).encode())
        key.update(clips.contiguous().view(torch.uint8).numpy().data)
    file = caches.folder("trivial") / f"{key.hexdigest()[:32]}.npy"
    with contextlib.suppress(OSError, ValueError, EOFError):
        found = np.load(file, allow_pickle=False)
        if found.dtype == np.float32 and found.ndim == 3 and len(found) == held_out.count:
            return torch.from_numpy(found)
    parts = []
    for clips in batches():
        # On the CPU: no truth may lie on the device before it is predicted.
        frames = to_float(clips, torch.device("cpu"))
        context, truth = frames[:, :context_frames], frames[:, context_frames:]
        parts.append(scored(context, truth, held_out.device).errors)
        held_out.heartbeat(0.0)
    errors = torch.cat(parts)
    content = io.BytesIO()
    np.save(content, errors.numpy())
    caches.keep(file, content.getvalue())
    return errors


def _batches(held_out: HeldOut) -> Iterator[Tensor]:
    for first in held_out.firsts:
        yield held_out.clips[first : min(first + held_out.batch_size, held_out.count)]


def _predictions(context: Tensor, horizon: int, device: torch.device) -> Iterator[Tensor]:
    """The trivial predictions in the order of `NAMES`, each [B,horizon or 1,C,H,W] on the CPU."""
    shape = context.shape[2], context.shape[3], context.shape[4]
    mean = context.mean(1, keepdim=True)
    yield torch.zeros_like(mean)
    yield mean.mean((-2, -1), keepdim=True).expand_as(mean)
    yield mean
    yield CopyLast(shape)(context, 1)
    motion = LinearMotion(shape)
    # One clip at a time fits a CPU's cache, in half the time.
    at_once = 1 if device.type == "cpu" else len(context)
    with torch.no_grad():
        parts = torch.split(context[:, -2:], at_once)
        moved = [motion(part.to(device), horizon).cpu() for part in parts]
    yield torch.cat(moved)

"""Frames as patches, and recurrent predictors that roll out frame by frame on them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.contract import FrameShape, Predictor, TrainingBatch, require_multiple

TeacherForcing = Tensor | bool
"""Whether a step reads the true frame: a mask [B,1,1,1], or one answer for all sequences."""


class FrameByFrame(Predictor):
    """A predictor whose `step` turns a frame and a state into features of the next frame.

    Where a model takes covariates, those of a frame are further channels of it.
    Frames are read and written as patches. In training every step is scored, and by scheduled
    sampling the steps after the context read the true frame with a probability that falls from 1
    to 0 over the first `sampling_ends_at` of the budget.
    """

    sampling_ends_at = 0.4
    """50,000 of the 125,000 steps (200 epochs of 625) of OpenSTL's Moving MNIST recipes."""

    def __init__(
        self, frame_shape: FrameShape, *, width: int, patch: int, bias: bool = False
    ) -> None:
        super().__init__(frame_shape)
        self.patch = patch
        self.patched_shape = patched_shape(frame_shape, patch)
        self.output: nn.Conv2d | nn.ConvTranspose2d
        self.output = nn.Conv2d(width, self.patched_shape[0], 1, bias=bias)

    @abstractmethod
    def step(self, frame: Tensor, state: Any | None) -> tuple[Tensor, Any]:
        """Features [B,width,h,w] of the frame after `frame` [B,c,h,w], and the new state.

        The state is None before the first frame.
        """

    def forward(self, context: Tensor, horizon: int, covariates: Tensor | None = None) -> Tensor:
        """The next frames [B,horizon,C,H,W]: context read once, then each prediction read back."""
        state, frames = None, to_patches(context, self.patch).unbind(1)
        for place, frame in enumerate(frames):
            features, state = self.step(beside(frame, covariates, place), state)
        predictions = [self.output(features)]
        for place in range(len(frames), len(frames) + horizon - 1):
            features, state = self.step(beside(predictions[-1], covariates, place), state)
            predictions.append(self.output(features))
        return from_patches(torch.stack(predictions, 1), self.patch)

    def training_loss(self, batch: TrainingBatch) -> Tensor:
        """The error of all T+horizon-1 next-frame predictions."""
        frames = to_patches(batch.clip, self.patch)
        forcing = self.teacher_forcing(batch)
        steps = self.unroll(frames, forcing, batch.covariates)
        predictions = [prediction for prediction, _ in steps]
        return self.error(torch.stack(predictions, 1), frames[:, 1:])

    def error(self, predictions: Tensor, truth: Tensor) -> Tensor:
        """What is minimised of predictions and true frames, both [B,T,c,h,w]: here the MSE."""
        return F.mse_loss(predictions, truth)

    def teacher_forcing(self, batch: TrainingBatch) -> list[TeacherForcing]:
        """Which of the T+horizon-1 steps read the true frame; the first always does."""
        rate = sampling_rate(batch.progress, self.sampling_ends_at)
        future_steps = batch.future.shape[1] - 1
        return [True] * batch.context_frames + draw_forcing(batch, future_steps, rate)

    def unroll(
        self, frames: Tensor, forcing: list[TeacherForcing], covariates: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Any]]:
        """The prediction [B,c,h,w] and the state after each of `frames` [B,T,c,h,w] but the last.

        Steps that are not teacher-forced read the prediction of the step before instead.
        """
        state, prediction = None, frames[:, 0]
        steps = zip(frames[:, :-1].unbind(1), forcing, strict=True)
        for place, (true_frame, forced) in enumerate(steps):
            frame = choose(forced, true_frame, prediction)
            features, state = self.step(beside(frame, covariates, place), state)
            prediction = self.output(features)
            yield prediction, state


def sampling_rate(progress: Tensor, ends_at: float) -> Tensor:
    """Probability of reading the true frame: 1 at the start, falling linearly to 0 at `ends_at`.

    Bengio et al. 2015, "Scheduled Sampling for Sequence Prediction with Recurrent Neural
    Networks", linear decay, over the fraction `progress` of the budget instead of steps.
    """
    return (1.0 - progress / ends_at).clamp(min=0.0)


def draw_forcing(batch: TrainingBatch, steps: int, rate: Tensor) -> list[TeacherForcing]:
    """For each of `steps` whether the true frame is read, drawn for each sequence at `rate`.

    Drawn at rates 0 and 1, too, so that a step is the same work at all of them.
    """
    draws = batch.uniform(steps, len(batch.clip), 1, 1, 1, clips=1)
    return list((draws < rate).unbind(0))


def choose(forced: TeacherForcing, true_frame: Tensor, own: Tensor) -> Tensor:
    """The frame [B,c,h,w] that a step reads: the true one or the model's own."""
    if isinstance(forced, bool):
        return true_frame if forced else own
    return true_frame.where(forced, own)


def beside(frame: Tensor, covariates: Tensor | None, place: int) -> Tensor:
    """`frame` [B,c,h,w] and, as K more channels, the `covariates` [B,T,K] at its `place`."""
    if covariates is None:
        return frame
    numbers = covariates[:, place, :, None, None].expand(-1, -1, *frame.shape[2:])
    return torch.cat((frame, numbers.to(frame.dtype)), 1)


def patched_shape(frame_shape: FrameShape, patch: int) -> FrameShape:
    """Channels, height and width of a frame whose `patch` x `patch` squares became channels.

    Raises:
        UnfitFrame: height or width is not a multiple of `patch`.
    """
    require_multiple(frame_shape, patch, "its patches")
    channels, height, width = frame_shape
    return channels * patch * patch, height // patch, width // patch


def to_patches(frames: Tensor, patch: int) -> Tensor:
    """Patches [...,C*patch*patch,H/patch,W/patch] of frames [...,C,H,W]."""
    return F.pixel_unshuffle(frames, patch)


def from_patches(patches: Tensor, patch: int) -> Tensor:
    """Frames [...,C,H,W] of patches [...,C*patch*patch,H/patch,W/patch]."""
    return F.pixel_shuffle(patches, patch)

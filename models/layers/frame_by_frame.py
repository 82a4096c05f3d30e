"""Recurrent predictors that read one frame and predict the next, again and again."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.contract import FrameShape, Predictor
from models.layers.patches import from_patches, patched_shape, to_patches
from models.layers.scheduled_sampling import Truth, choose, draw_truth, truth_rate
from models.layers.winograd import shared_filters


class FrameByFrame(Predictor):
    """A predictor whose `step` turns a frame and a state into features of the next frame.

    Frames are read and written as patches. In training every step is scored, and steps after the
    context read the true frame with a probability that falls from 1 to 0 over the first
    `sampling_ends_at` of the budget.
    """

    sampling_ends_at = 0.4
    """50,000 of the 125,000 steps (200 epochs of 625) of OpenSTL's Moving MNIST recipes."""

    def __init__(self, frame_shape: FrameShape, *, width: int, patch: int) -> None:
        super().__init__(frame_shape)
        self.patch = patch
        self.patched_shape = patched_shape(frame_shape, patch)
        self.output = nn.Conv2d(width, self.patched_shape[0], 1, bias=False)

    @abstractmethod
    def step(self, frame: Tensor, state: Any | None) -> tuple[Tensor, Any]:
        """Features [B,width,h,w] of the frame after `frame` [B,c,h,w], and the new state.

        The state is None before the first frame.
        """

    @shared_filters()
    def forward(self, context: Tensor, horizon: int) -> Tensor:
        """The next frames [B,horizon,C,H,W]: context read once, then each prediction read back."""
        state = None
        for frame in to_patches(context, self.patch).unbind(1):
            features, state = self.step(frame, state)
        predictions = [self.output(features)]
        for _ in range(horizon - 1):
            features, state = self.step(predictions[-1], state)
            predictions.append(self.output(features))
        return from_patches(torch.stack(predictions, 1), self.patch)

    @shared_filters()
    def training_loss(
        self,
        clip: Tensor,
        context_frames: int,
        progress: float,
        generator: torch.Generator | None,
    ) -> Tensor:
        """MSE of all T+horizon-1 next-frame predictions on `clip` [B,T+horizon,C,H,W]."""
        frames = to_patches(clip, self.patch)
        truth = self.truth(clip, context_frames, progress, generator)
        predictions = [prediction for prediction, _ in self.unroll(frames, truth)]
        return F.mse_loss(torch.stack(predictions, 1), frames[:, 1:])

    def truth(
        self,
        clip: Tensor,
        context_frames: int,
        progress: float,
        generator: torch.Generator | None,
    ) -> list[Truth]:
        """Which of the T+horizon-1 steps on `clip` read the true frame; the first always does."""
        rate = truth_rate(progress, self.sampling_ends_at)
        future_steps = clip.shape[1] - 1 - context_frames
        return [True] * context_frames + draw_truth(clip, future_steps, rate, generator)

    def unroll(self, frames: Tensor, truth: list[Truth]) -> Iterator[tuple[Tensor, Any]]:
        """The prediction [B,c,h,w] and the state after each of `frames` [B,T,c,h,w] but the last.

        Where `truth` says so a step reads the prediction of the step before instead.
        """
        state, prediction = None, frames[:, 0]
        for true_frame, is_true in zip(frames[:, :-1].unbind(1), truth, strict=True):
            features, state = self.step(choose(is_true, true_frame, prediction), state)
            prediction = self.output(features)
            yield prediction, state

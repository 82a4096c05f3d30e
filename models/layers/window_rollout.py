"""Predictors that turn a window of frames into the frames that follow it, rolled out over more."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from models.layers.padding import repeat_first_frame

LONGEST = 20


def window_on(context_frames: int) -> int:
    """How many frames a pass reads of clips with that much context: all, at most the last 20."""
    return min(context_frames, LONGEST)


def roll_out(
    next_frames: Callable[[Tensor], Tensor], context: Tensor, horizon: int, window_frames: int
) -> Tensor:
    """The next `horizon` frames after `context` [B,T,C,H,W], as many to a pass as there come.

    `next_frames` is given the last `window_frames` frames, its own predictions among them.
    """
    frames = repeat_first_frame(context, window_frames)
    first = frames.shape[1]
    while frames.shape[1] < first + horizon:
        frames = torch.cat((frames, next_frames(frames[:, -window_frames:])), 1)
    return frames[:, first : first + horizon]

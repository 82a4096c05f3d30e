"""Videos continued by a network that sees a fixed number of frames."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def led_in(clip: Tensor, frames: int) -> Tensor:
    """`clip` [B,T,C,H,W], led in by repeats of its first frame where it has fewer than `frames`."""
    missing = max(0, frames - clip.shape[1])
    return torch.cat((clip[:, :1].expand(-1, missing, -1, -1, -1), clip), 1)


def roll_out(
    next_frames: Callable[[Tensor], Tensor], context: Tensor, horizon: int, window_frames: int
) -> Tensor:
    """The next `horizon` frames after `context` [B,T,C,H,W], as many to a pass as there come.

    `next_frames` is given the last `window_frames` frames, its own predictions among them.
    """
    frames = led_in(context, window_frames)
    first = frames.shape[1]
    while frames.shape[1] < first + horizon:
        frames = torch.cat((frames, next_frames(frames[:, -window_frames:])), 1)
    return frames[:, first : first + horizon]

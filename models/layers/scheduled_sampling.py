"""Scheduled sampling: which steps read the true frame and which the model's own."""

from __future__ import annotations

import torch
from torch import Tensor

Truth = Tensor | bool
"""Whether a step reads the true frame: a mask [B,1,1,1], or one answer for all sequences."""


def truth_rate(progress: float, ends_at: float) -> float:
    """Probability of reading the true frame: 1 at the start, falling linearly to 0 at `ends_at`.

    Bengio et al. 2015, "Scheduled Sampling for Sequence Prediction with Recurrent Neural
    Networks", linear decay, over the fraction `progress` of the budget instead of steps.
    """
    return max(0.0, 1.0 - progress / ends_at)


def draw_truth(
    clip: Tensor, steps: int, rate: float, generator: torch.Generator | None
) -> list[Truth]:
    """For each of `steps` whether the true frame is read, drawn for each sequence at `rate`.

    Nothing is drawn where the rate leaves nothing to chance.
    """
    if rate in (0.0, 1.0):
        return [rate == 1.0] * steps
    draws = torch.rand(steps, len(clip), 1, 1, 1, generator=generator, device=clip.device)
    return list((draws < rate).unbind(0))


def choose(truth: Truth, true_frame: Tensor, own: Tensor) -> Tensor:
    """The frame [B,c,h,w] that a step reads: the true one or the model's own."""
    if isinstance(truth, bool):
        return true_frame if truth else own
    return true_frame.where(truth, own)

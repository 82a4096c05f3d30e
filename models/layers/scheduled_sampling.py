"""Scheduled sampling: which steps read the true frame and which the model's own."""

from __future__ import annotations

import torch
from torch import Tensor


def truth_rate(progress: float, ends_at: float) -> float:
    """Probability of reading the true frame: 1 at the start, falling linearly to 0 at `ends_at`.

    Bengio et al. 2015, "Scheduled Sampling for Sequence Prediction with Recurrent Neural
    Networks", linear decay, over the fraction `progress` of the budget instead of steps.
    """
    return max(0.0, 1.0 - progress / ends_at)


def draw_truth(
    clip: Tensor, steps: int, rate: float, generator: torch.Generator | None
) -> list[Tensor] | None:
    """For each of `steps` a mask [B,1,1,1], True where the true frame is read; None for never."""
    if rate == 0.0 or steps == 0:
        return None
    draws = torch.rand(steps, len(clip), 1, 1, 1, generator=generator, device=clip.device)
    return list((draws < rate).unbind(0))

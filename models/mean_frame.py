"""The baseline that knows only what an average frame looks like."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from models.contract import FrameShape, Predictor


class MeanFrame(Predictor):
    """Every future frame is the mean of all training frames."""

    name = "mean_frame"
    mean: Tensor

    def __init__(self, frame_shape: FrameShape) -> None:
        super().__init__(frame_shape)
        # Not a number until fitted, so that a forgotten fit cannot pass for a black frame.
        self.register_buffer("mean", torch.full(frame_shape, torch.nan))

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        """The mean frame, `horizon` times for each context: [B,horizon,C,H,W]."""
        return self.mean.to(context.dtype).repeat(len(context), horizon, 1, 1, 1)

    def fit(self, clips: Iterable[Tensor]) -> None:
        """Set `mean` to the mean of all frames of `clips` [B,T,C,H,W] in [0,1].

        Raises:
            ValueError: where there is not one frame.
        """
        total, frames = torch.zeros(self.frame_shape, dtype=torch.float64), 0
        for clip in clips:
            total += clip.sum((0, 1)).cpu()
            frames += clip.shape[0] * clip.shape[1]
        if frames == 0:
            raise ValueError("the mean frame needs at least one training clip")
        self.mean.copy_(total / frames)

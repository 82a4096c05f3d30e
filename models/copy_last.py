"""The baseline that copies the last frame."""

from __future__ import annotations

from torch import Tensor

from models.contract import Predictor


class CopyLast(Predictor):
    """Every future frame is the last one seen."""

    name = "copy_last"

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        """The last frame of `context` [B,T,C,H,W], `horizon` times: [B,horizon,C,H,W]."""
        return context[:, -1:].repeat(1, horizon, 1, 1, 1)

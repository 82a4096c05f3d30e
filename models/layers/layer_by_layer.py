"""Recurrent predictors whose layers each read all known frames before the next layer starts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from models.contract import FrameShape, Predictor
from models.layers.sequence_cell import SequenceCell, State


class LayerByLayer(Predictor):
    """A stack of cells at full resolution, whose last output gives the next frame.

    Predictions start dark, sigmoid(-2.5) = 0.08. From mid-grey the first steps on mostly black
    frames drive every output into the flat end of the sigmoid, where training stays.
    """

    def __init__(
        self, frame_shape: FrameShape, cells: Iterable[SequenceCell], *, width: int, kernel: int
    ) -> None:
        super().__init__(frame_shape)
        self.cells = nn.ModuleList(cells)
        self.output = nn.Conv2d(width, frame_shape[0], kernel, padding="same")
        nn.init.constant_(self.output.get_parameter("bias"), -2.5)

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        """The next frames [B,horizon,C,H,W]: context read once, then each prediction read back."""
        frame, states = self.read(context.unbind(1), [None] * len(self.cells))
        predictions = [frame]
        for _ in range(horizon - 1):
            frame, states = self.read([frame], states)
            predictions.append(frame)
        return torch.stack(predictions, 1)

    def read(
        self, frames: Sequence[Tensor], states: Sequence[State | None]
    ) -> tuple[Tensor, list[State]]:
        """The frame [B,C,H,W] after `frames` [B,C,H,W], in [0,1], and the cells' new states."""
        features, new = frames, []
        for cell, state in zip(self.cells, states, strict=True):
            features, state = cell(features, state)
            new.append(state)
        return self.output(features[-1]).sigmoid(), new

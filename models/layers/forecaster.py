"""Encoder-forecasters: recurrent cells at three resolutions that read, and three that foretell."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from models.contract import FrameShape, Predictor
from models.layers.cell_stack import CellStack
from models.layers.sequence_cell import SequenceCell, over_frames


class Forecaster(Predictor):
    """Three recurrent cells at full, half and quarter size read; their states start three more.

    The forecaster runs from the deepest state up and sees no frame, neither true nor its own: its
    deepest cell has no input, the others read the cell below. So every cell goes over all its
    frames before the next one starts. Convolutions halve the maps between the reading cells and
    transposed ones double them between the others, each with a LeakyReLU.

    The published code (jhhuang96/ConvLSTM-PyTorch, and WZX-Tina/ConvLSTM, whose `first` is 64)
    feeds the deepest cell zeros: the weights of that input never act, and are left out. It also
    puts a LeakyReLU after the last layer, since it takes any layer with "leaky" in its name to
    have one, by which dark pixels come out negative and hardly learn: here the last layer is
    linear. And it takes as many frames as a constant says, here any number do.

    Args:
        first: channels of the first convolution, before the first cell.
        widths: channels of the cells at full, half and quarter size.
        last: channels between the two convolutions that make the pixels.
        kernel: side of the cells' convolutions, odd.
        group: channels that are normalised together; must divide all widths.
    """

    def __init__(
        self,
        frame_shape: FrameShape,
        *,
        first: int = 16,
        widths: tuple[int, int, int] = (64, 96, 96),
        last: int = 16,
        kernel: int = 5,
        group: int = 32,
    ) -> None:
        super().__init__(frame_shape)
        channels, height, width = frame_shape
        if height % 4 or width % 4:
            raise ValueError(
                f"frame height and width must be multiples of 4, not {height} x {width}"
            )

        def cell(inputs: int, width: int, *before: nn.Module) -> SequenceCell:
            layer = nn.Sequential(*before, nn.LeakyReLU(0.2)) if before else None
            return self.cell(inputs, width, kernel, group, layer)

        full, half, quarter = widths
        self.encoder = CellStack(
            (
                cell(first, full, nn.Conv2d(channels, first, 3, 1, 1)),
                cell(full, half, nn.Conv2d(full, full, 3, 2, 1)),
                cell(half, quarter, nn.Conv2d(half, half, 3, 2, 1)),
            )
        )
        self.forecaster = nn.ModuleList(
            (
                cell(0, quarter),
                cell(quarter, half, nn.ConvTranspose2d(quarter, quarter, 4, 2, 1)),
                cell(half, full, nn.ConvTranspose2d(half, half, 4, 2, 1)),
            )
        )
        self.output = nn.Sequential(
            nn.Conv2d(full, last, 3, 1, 1), nn.LeakyReLU(0.2), nn.Conv2d(last, channels, 1)
        )

    @staticmethod
    @abstractmethod
    def cell(
        inputs: int, width: int, kernel: int, group: int, before: nn.Module | None
    ) -> SequenceCell:
        """The recurrent cell, described in `SequenceCell`, its gates normalised in groups."""

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        """The next frames [B,horizon,C,H,W]; not bounded."""
        states = self.encoder(context)
        quarter, half, full = self.forecaster
        maps, _ = quarter(horizon, states[2])
        maps, _ = half(maps, states[1])
        maps, _ = full(maps, states[0])
        return torch.stack(over_frames(self.output, maps), 1)

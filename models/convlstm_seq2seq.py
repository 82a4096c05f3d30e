"""ConvLSTM seq2seq: an autoencoder over time, at full resolution (Holm 2020)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from models.contract import FrameShape, Paper, Predictor, Recipe, Size, small_recipe
from models.convlstm import CellState, ConvLSTMCell

DARK = -3.0
"""The output's bias at first; its sigmoid is 0.05, about what Moving MNIST shows on average."""


class ConvLSTMAutoencoder(nn.Module):
    """Two ConvLSTM layers read a clip; two more continue from the last hidden state.

    The decoder's layers start from all zeros: of the encoder they are given only its top hidden
    state, as their first input, and after it their own (seq2seq_ConvLSTM.py).

    Args:
        channels: of a frame.
        width: channels of the hidden and the cell states.
        kernel: side of the convolutions, odd.
    """

    def __init__(self, channels: int, width: int, kernel: int = 3) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(
            ConvLSTMCell(inputs, width, kernel, bias=True) for inputs in (channels, width)
        )
        self.decoder = nn.ModuleList(
            ConvLSTMCell(width, width, kernel, bias=True) for _ in range(2)
        )

    def forward(self, clip: Tensor, steps: int) -> Tensor:
        """The decoder's top hidden states [B,steps,width,H,W] after `clip` [B,T,C,H,W]."""
        hidden = self.encode(clip)
        states: list[CellState | None] = [None, None]
        outputs = []
        for _ in range(steps):
            hidden = stacked(self.decoder, hidden, states)
            outputs.append(hidden)
        return torch.stack(outputs, 1)

    def encode(self, clip: Tensor) -> Tensor:
        """The encoder's top hidden state [B,width,H,W] after `clip` [B,T,C,H,W]."""
        states: list[CellState | None] = [None, None]
        for frame in clip.unbind(1):
            hidden = stacked(self.encoder, frame, states)
        return hidden


def stacked(cells: Iterable[nn.Module], x: Tensor, states: list[CellState | None]) -> Tensor:
    """The top hidden state after x [B,C,H,W] went through `cells`; `states` become the new ones."""
    for layer, cell in enumerate(cells):
        states[layer] = x, _ = cell(x, states[layer])
    return x


class ConvLSTMSeq2Seq(Predictor):
    """Two ConvLSTM layers read the context; two more are fed their own output for the future.

    The cells are those of Shi et al. 2015 without peepholes. Frames are neither patched nor
    halved, and never fed back: all are made from the decoder's hidden states at the end, by a
    convolution (the published 1x3x3 one, over frames) and a sigmoid. The loss is that of the
    future frames alone.

    The published model starts from mid-grey frames. On sparse ones the first steps then overshoot
    into a black in which the sigmoid passes hardly any gradient, the blank output that its users
    report; here it starts from dark frames.
    """

    name = "convlstm_seq2seq"
    paper = Paper(
        "Video Prediction using ConvLSTM Autoencoder (PyTorch)",
        2020,
        "https://github.com/holmdk/Video-Prediction-using-PyTorch",
    )
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(
            Recipe(
                source="holmdk/Video-Prediction-using-PyTorch, main.py",
                origin="authors",
                learning_rate=1e-4,
                batch_size=12,
                betas=(0.9, 0.98),
            )
        ),
        "small": Size(
            small_recipe(1.5e-2, "best of 5 trials on Moving MNIST", batch_size=2),
            {"width": 8},
        ),
    }
    tunable: ClassVar[Mapping[str, Sequence[Any]]] = {"width": (4, 6, 8, 10, 13, 16, 20, 24)}

    def __init__(self, frame_shape: FrameShape, *, width: int = 64) -> None:
        """The published size by default.

        Args:
            frame_shape: channels, height, width.
            width: channels of all states.
        """
        super().__init__(frame_shape)
        self.autoencoder = ConvLSTMAutoencoder(frame_shape[0], width)
        self.output = nn.Conv2d(width, frame_shape[0], 3, padding="same")
        self.output.bias = nn.Parameter(torch.full((frame_shape[0],), DARK))

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        """The next frames [B,horizon,C,H,W], in [0,1]."""
        hidden = self.autoencoder(context, horizon)
        frames: Tensor = self.output(hidden.flatten(0, 1)).sigmoid()
        return frames.view(len(context), horizon, *context.shape[2:])

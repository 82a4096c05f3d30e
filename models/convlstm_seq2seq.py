"""ConvLSTM seq2seq: an autoencoder over time, at full resolution (Holm 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from models.contract import FrameShape, Paper, Predictor, Recipe, Size, small_recipe
from models.layers.latent_feedback import LatentFeedback
from models.layers.sequence_cell import over_frames

DARK = -3.0
"""The output's bias at first; its sigmoid is 0.05, about what Moving MNIST shows on average."""


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
                learning_rate=1e-4,
                batch_size=12,
                betas=(0.9, 0.98),
            )
        ),
        "small": Size(
            small_recipe(1e-2, "learning rate by validation MSE after 200 steps"),
            {"width": 13},
        ),
    }

    def __init__(self, frame_shape: FrameShape, *, width: int = 64) -> None:
        super().__init__(frame_shape)
        self.autoencoder = LatentFeedback(frame_shape[0], width)
        self.output = nn.Conv2d(width, frame_shape[0], 3, padding="same")
        self.output.bias = nn.Parameter(torch.full((frame_shape[0],), DARK))

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        """The next frames [B,horizon,C,H,W], in [0,1]."""
        return torch.stack(
            over_frames(self.output, self.autoencoder(context, horizon)), 1
        ).sigmoid()

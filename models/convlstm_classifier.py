"""ConvLSTM classifier: what the seq2seq autoencoder predicts, averaged into class scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.contract import Classifier, FrameShape, Paper, Recipe, Size, small_recipe
from models.convlstm_seq2seq import ConvLSTMAutoencoder

STEPS = 10  # of the decoder


class MeanConv3d(nn.Conv3d):
    """The mean over all positions of a zero-padded 3x3x3 convolution, without convolving.

    The mean of a sum is the sum of means: a tap of the kernel sees the sum of the input over all
    positions but those that it would see beyond the edge, so that 27 sums a channel do.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Means [B,outputs] for x [B,inputs,T,H,W]."""
        positions = x[0, 0].numel()
        for _ in range(3):
            x = tap_sums(x, 2)
        return F.linear(x.flatten(1) / positions, self.weight.flatten(1), self.bias)


def tap_sums(x: Tensor, dim: int) -> Tensor:
    """Sums over `dim` that the taps before, at and after a position see, along a new last axis."""
    total = x.sum(dim)
    return torch.stack((total - x.select(dim, -1), total, total - x.select(dim, 0)), -1)


class ConvLSTMClassifier(Classifier):
    """The ConvLSTM of the Something-Something study: ten steps beyond the clip, then the mean.

    The encoder-decoder is that of `convlstm_seq2seq`. Its ten hidden states go through a 3x3x3
    convolution, the mean over time and space and a linear layer, with nothing between: as the
    published model has it, the scores are linear in the hidden states.

    At first these hardly depend on the clip: the logits of two clips differ by some 1e-6. The small
    size names no more of three actions of UCF101 right than guessing after 400 steps at 32x32; it
    does within 600 at 16x16. The published one stayed near the loss of guessing for 13 epochs (5.02
    of ln 174 = 5.16).
    """

    name = "convlstm_classifier"
    paper = Paper(
        "ConvLSTM vs SITH: convlstm_pytorch_something_something",
        2021,
        "https://github.com/J-Yash/convlstm-vs-sith",
    )
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(
            Recipe(
                source="J-Yash/convlstm-vs-sith",
                origin="authors",
                schedule="plateau",
                plateau_factor=0.5,
                plateau_patience=2,
                learning_rate=8e-3,
                batch_size=10,
                optimizer="sgd",
                momentum=0.9,
                weight_decay=1e-5,
            )
        ),
        "small": Size(
            small_recipe(
                3e-3, "of 1e-2 and 3e-3 the rate that began to learn in 400 steps at 32x32"
            ),
            {"width": 13, "features": 64},
        ),
    }

    def __init__(
        self, frame_shape: FrameShape, classes: int, *, width: int = 64, features: int = 512
    ) -> None:
        """The published size by default.

        Args:
            frame_shape: channels, height, width.
            classes: how many there are.
            width: channels of the autoencoder's states.
            features: channels of the convolution before the logits.
        """
        super().__init__(frame_shape, classes)
        self.autoencoder = ConvLSTMAutoencoder(frame_shape[0], width)
        self.features = MeanConv3d(width, features)
        self.scores = nn.Linear(features, classes)

    def forward(self, clip: Tensor) -> Tensor:
        """Logits [B,classes] of `clip` [B,T,C,H,W]; any T."""
        hidden = self.autoencoder(clip, STEPS)
        logits: Tensor = self.scores(self.features(hidden.transpose(1, 2)))
        return logits

"""The 3D VGG that came with Something-Something V2 as its baseline (Goyal et al. 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from models.contract import Classifier, FrameShape, Paper, Recipe, Size

BLOCKS = ((1,), (2, 4), (4, 4, 8), (8, 8, 16), (16, 16))
"""Channels of each convolution, in multiples of the first's. The last of a block has stride 2."""


class VGG3DClassifier(Classifier):
    """Eleven 3D convolutions that halve the frame five times and time never, then their mean.

    Each has batch normalisation and ReLU; whole channels are dropped out after the first four
    blocks. Halves are rounded up, so that a frame of any size and a clip of any length pass.

    As published with 174 classes: 23,384,430 parameters, of which the 2,784 biases of the
    convolutions are undone by the normalisation that follows.
    """

    name = "vgg3d_classifier"
    paper = Paper(
        'The "something something" video database for learning and evaluating visual common sense',
        2017,
        "https://arxiv.org/abs/1706.04261",
    )
    sizes: ClassVar[Mapping[str, Size]] = {
        "published": Size(
            Recipe(
                source="TwentyBN/something-something-v2-baseline, model3D_1",
                origin="authors",
                schedule="plateau",
                plateau_factor=0.5,
                plateau_patience=2,
                learning_rate=0.008,
                batch_size=30,
                optimizer="sgd",
                momentum=0.9,
                weight_decay=1e-5,
            )
        ),
        "small": Size(
            Recipe(
                source="ours; not tuned",
                learning_rate=0.008,
                batch_size=4,
                optimizer="sgd",
                momentum=0.9,
                weight_decay=1e-5,
                schedule="one_cycle",
                clip_norm=1.0,
            ),
            {"width": 14},
        ),
    }

    def __init__(
        self, frame_shape: FrameShape, classes: int, *, width: int = 32, dropout: float = 0.2
    ) -> None:
        """The published size by default.

        Args:
            frame_shape: channels, height, width.
            classes: how many there are.
            width: channels of the first block; later ones have multiples.
            dropout: share of the channels dropped after each block but the last.
        """
        super().__init__(frame_shape, classes)
        self.blocks = nn.Sequential()
        below = frame_shape[0]
        for block in BLOCKS:
            for place, multiple in enumerate(block, start=1):
                kernel = 3 if len(self.blocks) else 5
                stride = 2 if place == len(block) else 1
                self.blocks.append(convolution(below, multiple * width, kernel, stride))
                below = multiple * width
            if block is not BLOCKS[-1]:
                self.blocks.append(nn.Dropout3d(dropout))
        self.classify = nn.Linear(below, classes)

    def forward(self, clip: Tensor) -> Tensor:
        """Logits [B,classes] of `clip` [B,T,C,H,W] in [0,1]."""
        logits: Tensor = self.classify(self.blocks(clip.transpose(1, 2)).mean((2, 3, 4)))
        return logits


def convolution(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    """Maps [B,outputs,T,H/stride,W/stride] of [B,inputs,T,H,W]: 3 frames by `kernel` squared."""
    return nn.Sequential(
        nn.Conv3d(
            inputs,
            outputs,
            (3, kernel, kernel),
            (1, stride, stride),
            (1, kernel // 2, kernel // 2),
        ),
        nn.BatchNorm3d(outputs),
        nn.ReLU(inplace=True),
    )
